-- name: compare_bronze
-- Three counts of one dataset that ought to be equal, and by name what makes them differ.
with last as (
    select distinct on (s.dataset)
        s.dataset, s.at, s.listed, s.found, s.partitions, s.names, s.unmatched, s.unmatched_keys
    from quicksilver.sweep as s
    order by s.dataset, s.id desc
),

seen as (
    select l.dataset, d.partition
    from last as l
    cross join lateral unnest(l.names) as d (partition)
),

known as (
    select p.dataset, p.partition, p.built_generation = p.generation as is_built, p.received_at
    from quicksilver.partition as p
    where p.generation > 0 and p.gone_at is null
),

both_sides as (
    select
        coalesce(k.dataset, s.dataset) as dataset,
        coalesce(k.partition, s.partition) as partition,
        s.partition is not null as is_listed,
        k.partition is not null as is_known,
        coalesce(k.is_built, false) as is_built,
        k.received_at
    from known as k
    full join seen as s on k.dataset = s.dataset and k.partition = s.partition
)

select
    d.name as dataset,
    d.is_declared,
    l.at as compared_at,
    l.listed as objects_listed,
    l.found as objects_found,
    l.partitions as in_bronze,
    coalesce(l.unmatched, 0) as unmatched,
    coalesce(l.unmatched_keys, '{}') as unmatched_names,
    count(*) filter (where b.is_known) as in_ledger,
    count(*) filter (where b.is_known and b.is_built) as built,
    count(*) filter (where b.is_listed and not b.is_known) as unknown,
    count(*) filter (where b.is_known and not b.is_listed and b.received_at >= l.at) as newer,
    count(*) filter (where b.is_known and not b.is_listed and b.received_at < l.at) as missing,
    count(*) filter (where b.is_known and not b.is_built) as unbuilt,
    (
        array_agg(b.partition order by b.partition desc) filter (where b.is_listed and not b.is_known)
    )[1:20] as unknown_names,
    (
        array_agg(b.partition order by b.partition desc)
        filter (where b.is_known and not b.is_listed and b.received_at >= l.at)
    )[1:20] as newer_names,
    (
        array_agg(b.partition order by b.partition desc)
        filter (where b.is_known and not b.is_listed and b.received_at < l.at)
    )[1:20] as missing_names,
    (
        array_agg(b.partition order by b.partition desc) filter (where b.is_known and not b.is_built)
    )[1:20] as unbuilt_names
from quicksilver.dataset as d
left join last as l on d.name = l.dataset
left join both_sides as b on d.name = b.dataset
where d.is_declared or b.partition is not null
group by
    d.name, d.is_declared, l.at, l.listed, l.found, l.partitions, l.unmatched, l.unmatched_keys
order by d.name


-- name: measure_lanes
-- Event time against arrival, over the newest events that came on a lane; in seconds.
with recent as (
    select e.event_at, e.fast_at, e.durable_at
    from quicksilver.event as e
    where e.fast_at is not null or e.durable_at is not null
    order by e.id desc
    limit %(last)s
)

select
    count(*) as events,
    count(r.fast_at) as fast,
    count(r.durable_at) as durable,
    max(r.fast_at) as fast_last_at,
    max(r.durable_at) as durable_last_at,
    percentile_cont(0.5) within group (
        order by extract(epoch from r.fast_at - r.event_at)
    ) as fast_median,
    percentile_cont(0.95) within group (
        order by extract(epoch from r.fast_at - r.event_at)
    ) as fast_p95,
    percentile_cont(0.5) within group (
        order by extract(epoch from r.durable_at - r.event_at)
    ) as durable_median,
    percentile_cont(0.95) within group (
        order by extract(epoch from r.durable_at - r.event_at)
    ) as durable_p95
from recent as r


-- name: origins
-- Which sources reported the newest object versions. Copies of one version, and events that came after a
-- sweep had found it, count once: only what no event ever reported is the sweep's alone.
with recent as (
    select e.dataset, e.bucket, e.key, e.etag, e.generation, e.fast_at, e.durable_at, e.source
    from quicksilver.event as e
    order by e.id desc
    limit %(last)s
),

versions as (
    select
        r.dataset,
        bool_or(r.fast_at is not null) as by_fast,
        bool_or(r.durable_at is not null) as by_durable,
        bool_or(r.source = 'sweep') as by_sweep,
        bool_or(r.source = 'poll') as by_poll
    from recent as r
    where r.dataset is not null
    group by r.dataset, r.bucket, r.key, r.etag
    having bool_or(r.generation is not null)
)

select
    v.dataset,
    count(*) as objects,
    count(*) filter (where v.by_fast) as fast,
    count(*) filter (where v.by_durable and not v.by_fast) as only_durable,
    count(*) filter (where v.by_sweep and not v.by_fast and not v.by_durable) as only_sweep,
    count(*) filter (
        where v.by_poll and not v.by_sweep and not v.by_fast and not v.by_durable
    ) as only_poll,
    count(*) filter (
        where not v.by_poll and not v.by_sweep and not v.by_fast and not v.by_durable
    ) as otherwise
from versions as v
group by v.dataset
order by v.dataset


-- name: published_builds
-- A partition that is dirty or being built is brought right by its build; one that never had a build
-- holds nothing.
select distinct on (b.partition) b.dataset, b.partition, p.dt, b.id as build_id
from quicksilver.build as b
inner join quicksilver.partition as p on b.dataset = p.dataset and b.partition = p.partition
where
    b.dataset = %(dataset)s
    and p.state = 'built'
    and b.state in ('published', 'succeeded')
order by b.partition, b.id desc


-- name: record_sweep
-- Older sweeps keep their numbers and drop their names; those past the retention go.
with dropped as (
    delete from quicksilver.sweep
    where dataset = %(dataset)s and at < %(before)s
    returning id
),

thinned as (
    update quicksilver.sweep set names = '{}'
    where
        dataset = %(dataset)s and at >= %(before)s
        and id = (
            select max(s.id) from quicksilver.sweep as s where s.dataset = %(dataset)s
        )
    returning id
)

insert into quicksilver.sweep (
    dataset, at, listed, found, gone, partitions, names, unmatched, unmatched_keys
)
values (
    %(dataset)s, %(at)s, %(listed)s, %(found)s, %(gone)s, cardinality(%(names)s::text[]),
    %(names)s::text[], %(unmatched)s, %(unmatched_keys)s::text[]
)
