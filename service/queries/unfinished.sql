-- What is not built, or being built, newest first: with what it waits for or failed of.
select
    p.dataset,
    p.dt,
    s.shown_state,
    p.generation,
    p.built_generation,
    p.attempts,
    p.wait_reason,
    p.error,
    p.dirty_since,
    d.paused_at,
    d.paused_by,
    b.id as build,
    b.state as build_state,
    b.claimed_at,
    b.flow_run_id,
    case when p.due_at > %(now)s and p.due_at < 'infinity' then p.due_at end as due_at,
    coalesce(b.claimed_at, p.dirty_since, p.updated_at) as since
from quicksilver.partition as p
left join quicksilver.dataset as d on p.dataset = d.name
left join quicksilver.build as b
    on
        p.dataset = b.dataset and p.dt = b.dt
        and b.state in ('claimed', 'dispatched', 'running', 'published', 'yielded')
cross join lateral (
    select
        case
            when d.paused_at is not null and p.state in ('waiting', 'pending') then 'paused'
            else p.state
        end as shown_state
) as s
where p.generation > 0 and s.shown_state = any(%(states)s)
order by since desc, p.dataset, p.dt
limit %(limit)s
