-- Who told of the newest object versions. Copies of one version, and events that came after a
-- sweep had found it, count once: only what no event ever told of is the sweep's alone.
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
