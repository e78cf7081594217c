-- A canary's events have told all they could: of it only the measure stays.
with told as (
    delete from quicksilver.event
    where
        reason = 'ignored:canary'
        and key in (
            select k.key
            from (
                select c.keys
                from quicksilver.canary as c
                where c.bucket = %(bucket)s and c.at < %(events_before)s
                order by c.id desc
                limit 50
            ) as measured
            cross join lateral unnest(measured.keys) as k (key)
        )
),

old as (
    delete from quicksilver.canary where bucket = %(bucket)s and at < %(before)s
)

insert into quicksilver.canary (
    bucket, keys, at, fast_state, fast_lag, durable_state, durable_lag, fault
) values (
    %(bucket)s, %(keys)s, %(at)s, %(fast_state)s, %(fast_lag)s, %(durable_state)s,
    %(durable_lag)s, %(fault)s
)
