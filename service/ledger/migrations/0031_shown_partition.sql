-- A partition as people are shown it, told once: for every list of them, and for one by itself.
create view quicksilver.shown_partition as
select
    p.dataset,
    p.partition,
    p.dt,
    p.generation,
    p.built_generation,
    p.state,
    p.wait_reason,
    p.attempts,
    p.error,
    p.is_forced,
    p.priority,
    -- `infinity` (never) and `-infinity` (at once) are not times that a client could show.
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
    -- State of its active build, and the number of warnings of the newest build that has details.
    (
        select b.state
        from quicksilver.build as b
        where
            b.dataset = p.dataset and b.partition = p.partition
            and quicksilver.is_active(b.state)
    ) as build_state,
    coalesce((
        select case jsonb_typeof(b.details -> 'warnings')
            when 'array' then jsonb_array_length(b.details -> 'warnings')
        end
        from quicksilver.build as b
        where
            b.dataset = p.dataset and b.partition = p.partition
            and jsonb_typeof(b.details) = 'object'
        order by b.id desc
        limit 1
    ), 0) as warnings,
    quicksilver.shown_state(p.state, d.paused_at) as shown_state,
    -- Since when readers see what they see now.
    (
        select max(b.published_at)
        from quicksilver.build as b
        where
            b.dataset = p.dataset and b.partition = p.partition
            and b.generation = p.built_generation
    ) as served_at
from quicksilver.partition as p
left join quicksilver.dataset as d on p.dataset = d.name
where p.generation > 0;

-- What a calendar's cell or a strip's says of one: its shown state, or that it is worth a look.
create function quicksilver.cell_state(
    state text,
    paused_at timestamptz,
    gone_at timestamptz,
    rows_bronze bigint,
    rows_silver bigint,
    rows_rejected bigint,
    rejected_share double precision
) returns text
language sql immutable parallel safe
as $$
    select case
        when gone_at is not null and state in ('built', 'waiting') then 'gone'
        -- Built, and yet worth a look: rejected rows, or rows that no model reads.
        when
            state = 'built' and rows_bronze > 0
            and (rows_silver is null or rows_rejected >= rejected_share * rows_bronze)
            then 'warned'
        else quicksilver.shown_state(state, paused_at)
    end
$$;
