-- Three counts of one dataset that ought to be equal, and by name what makes them differ.
with last as (
    select distinct on (s.dataset) s.dataset, s.at, s.listed, s.found, s.partitions, s.dts
    from quicksilver.sweep as s
    order by s.dataset, s.id desc
),

seen as (
    select l.dataset, d.dt
    from last as l
    cross join lateral unnest(l.dts) as d (dt)
),

known as (
    select p.dataset, p.dt, p.built_generation = p.generation as is_built, p.received_at
    from quicksilver.partition as p
    where p.generation > 0 and p.gone_at is null
),

both_sides as (
    select
        coalesce(k.dataset, s.dataset) as dataset,
        coalesce(k.dt, s.dt) as dt,
        s.dt is not null as is_listed,
        k.dt is not null as is_known,
        coalesce(k.is_built, false) as is_built,
        k.received_at
    from known as k
    full join seen as s on k.dataset = s.dataset and k.dt = s.dt
)

select
    d.name as dataset,
    d.is_declared,
    l.at as compared_at,
    l.listed as objects_listed,
    l.found as objects_found,
    l.partitions as in_bronze,
    count(*) filter (where b.is_known) as in_ledger,
    count(*) filter (where b.is_known and b.is_built) as built,
    count(*) filter (where b.is_listed and not b.is_known) as unknown,
    count(*) filter (where b.is_known and not b.is_listed and b.received_at >= l.at) as newer,
    count(*) filter (where b.is_known and not b.is_listed and b.received_at < l.at) as missing,
    count(*) filter (where b.is_known and not b.is_built) as unbuilt,
    (
        array_agg(b.dt order by b.dt desc) filter (where b.is_listed and not b.is_known)
    )[1:20] as unknown_dts,
    (
        array_agg(b.dt order by b.dt desc)
        filter (where b.is_known and not b.is_listed and b.received_at >= l.at)
    )[1:20] as newer_dts,
    (
        array_agg(b.dt order by b.dt desc)
        filter (where b.is_known and not b.is_listed and b.received_at < l.at)
    )[1:20] as missing_dts,
    (
        array_agg(b.dt order by b.dt desc) filter (where b.is_known and not b.is_built)
    )[1:20] as unbuilt_dts
from quicksilver.dataset as d
left join last as l on d.name = l.dataset
left join both_sides as b on d.name = b.dataset
where d.is_declared or b.dt is not null
group by d.name, d.is_declared, l.at, l.listed, l.found, l.partitions
order by d.name
