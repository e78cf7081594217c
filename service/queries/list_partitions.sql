-- Keyset pages: the order is (dataset, dt) and `after` is the last row of the page before.
select
    p.dataset,
    p.dt,
    p.generation,
    p.built_generation,
    p.state,
    p.wait_reason,
    p.attempts,
    p.error,
    p.is_forced,
    p.priority,
    -- Never, and at once, are no moments that a client could show.
    case when isfinite(p.due_at) then p.due_at end as due_at,
    p.dirty_since,
    p.changed_at,
    p.built_manifest,
    p.gone_at,
    p.flow_run_id,
    p.put_at,
    p.received_at,
    p.dispatched_at,
    p.started_at,
    p.loaded_at,
    p.built_at,
    p.rows_bronze,
    p.rows_silver,
    p.rows_rejected,
    p.updated_at,
    case
        when d.paused_at is not null and p.state in ('waiting', 'pending') then 'paused'
        else p.state
    end as shown_state
from quicksilver.partition as p
left join quicksilver.dataset as d on p.dataset = d.name
where
    (%(dataset)s::text is null or p.dataset = %(dataset)s)
    and (
        %(state)s::text is null
        or %(state)s = case
            when d.paused_at is not null and p.state in ('waiting', 'pending') then 'paused'
            else p.state
        end
    )
    and (
        %(after_dataset)s::text is null
        or (p.dataset, p.dt) > (%(after_dataset)s, %(after_dt)s::date)
    )
    and (%(dts)s::date[] is null or p.dt = any(%(dts)s))
    and p.generation > 0
order by p.dataset, p.dt
limit %(limit)s
