-- Older sweeps keep their numbers and drop their names; those past the retention go.
with dropped as (
    delete from quicksilver.sweep
    where dataset = %(dataset)s and at < %(before)s
    returning id
),

thinned as (
    update quicksilver.sweep set dts = '{}'
    where
        dataset = %(dataset)s and at >= %(before)s
        and id = (
            select max(s.id) from quicksilver.sweep as s where s.dataset = %(dataset)s
        )
    returning id
)

insert into quicksilver.sweep (dataset, at, listed, found, gone, partitions, dts)
values (
    %(dataset)s, %(at)s, %(listed)s, %(found)s, %(gone)s, cardinality(%(dts)s::date[]),
    %(dts)s::date[]
)
