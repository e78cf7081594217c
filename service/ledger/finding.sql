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
    p.*,
    count(*) over () as found,
    sum(p.rows_bronze) over ()::bigint as found_rows,
    sum(p.rows_rejected) over ()::bigint as found_rejected
from quicksilver.shown_partition as p
where
    (%(dataset)s::text is null or p.dataset = %(dataset)s)
    and (%(states)s::text[] is null or p.shown_state = any(%(states)s))
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
            array['failed', 'running', 'pending', 'waiting', 'paused', 'built'], p.shown_state
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
