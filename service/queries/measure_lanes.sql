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
