-- name: neighbours
select
    (
        select max(p.partition) from quicksilver.partition as p
        where p.dataset = %(dataset)s and p.partition < %(partition)s and p.generation > 0
    ) as before,
    (
        select min(p.partition) from quicksilver.partition as p
        where p.dataset = %(dataset)s and p.partition > %(partition)s and p.generation > 0
    ) as after


-- name: count_range
select quicksilver.shown_state(p.state, d.paused_at) as shown_state, count(*) as partitions
from quicksilver.partition as p
left join quicksilver.dataset as d on p.dataset = d.name
where
    p.dataset = %(dataset)s and p.generation > 0 and p.gone_at is null
    and p.dt between %(first)s and %(last)s
group by 1


-- name: find_partitions
-- What is in trouble first, then the newest, unless sorted otherwise; `text` is a part of the name, of a key, or of a run's id.
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
    s.shown_state,
    case when isfinite(p.due_at) then p.due_at end as due_at,
    count(*) over () as found,
    sum(p.rows_bronze) over ()::bigint as found_rows,
    sum(p.rows_rejected) over ()::bigint as found_rejected,
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
cross join lateral (select quicksilver.shown_state(p.state, d.paused_at) as shown_state) as s
where
    p.generation > 0
    and (%(dataset)s::text is null or p.dataset = %(dataset)s)
    and (%(states)s::text[] is null or s.shown_state = any(%(states)s))
    and (%(first)s::date is null or p.dt >= %(first)s)
    and (%(last)s::date is null or p.dt <= %(last)s)
    and (
        %(after_dataset)s::text is null
        or (p.dataset, p.partition) > (%(after_dataset)s, %(after_partition)s)
    )
    and (
        %(text)s::text is null
        or position(lower(%(text)s) in lower(p.dataset || '/' || p.partition)) > 0
        or exists (
            select from quicksilver.build as b
            where
                b.dataset = p.dataset and b.partition = p.partition
                and starts_with(b.flow_run_id::text, lower(%(text)s))
        )
        or exists (
            select from quicksilver.object as o
            where
                o.dataset = p.dataset and o.partition = p.partition
                and position(%(text)s in o.key) > 0
        )
    )
order by
    case
        when not %(by_name)s::boolean and %(sort)s = 'trouble' then array_position(
            array['failed', 'running', 'pending', 'waiting', 'paused', 'built'], s.shown_state
        )
    end,
    case when %(sort)s = 'oldest' then p.dt end nulls last,
    case when %(sort)s = 'changed' then p.updated_at end desc nulls last,
    case when %(sort)s = 'rows' then p.rows_bronze end desc nulls last,
    case when %(sort)s = 'rejected' then p.rows_rejected::double precision / nullif(p.rows_bronze, 0) end desc nulls last,
    case when not %(by_name)s::boolean then p.dt end desc nulls last,
    p.dataset,
    case when %(by_name)s::boolean then p.partition end,
    p.partition desc
offset %(skip)s
limit %(limit)s
