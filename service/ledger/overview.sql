-- name: calendar
-- Every partition of a dataset in a span of days, as little of each as a cell shows.
select
    p.partition,
    p.dt,
    quicksilver.cell_state(
        p.state, d.paused_at, p.gone_at, p.rows_bronze, p.rows_silver, p.rows_rejected,
        %(rejected_share)s::double precision
    ) as shown_state,
    p.generation,
    p.built_generation
from quicksilver.partition as p
left join quicksilver.dataset as d on p.dataset = d.name
where
    p.dataset = %(dataset)s and p.generation > 0
    and (%(first)s::date is null or p.dt >= %(first)s)
    and (%(last)s::date is null or p.dt <= %(last)s)
order by p.partition


-- name: calendar_span
-- The first and last partition of each dataset, and whether all of them begin a month.
select
    p.dataset,
    min(p.dt) as first_dt,
    max(p.dt) as last_dt,
    bool_and(extract(day from p.dt) = 1) as is_monthly
from quicksilver.partition as p
where p.generation > 0 and p.dt is not null
group by p.dataset
order by p.dataset


-- name: pulse
-- One text that differs whenever an operators' page would: each part is an index's end, or few rows.
select
    md5(
        concat_ws(
            '|',
            (select max(e.id) from quicksilver.event as e),
            (
                select max(r.durable_at)
                from (
                    select e.durable_at from quicksilver.event as e order by e.id desc limit 100
                ) as r
            ),
            (select max(b.id) from quicksilver.build as b),
            (
                select string_agg(b.id || b.state, ',' order by b.id)
                from quicksilver.build as b
                where quicksilver.is_active(b.state)
            ),
            (select count(*) || '+' || max(q.last_seen) from quicksilver.quarantine as q),
            (select max(a.id) from quicksilver.action as a),
            (select max(s.id) from quicksilver.sweep as s),
            (select max(c.id) from quicksilver.canary as c),
            (
                select string_agg(a.id::text, ',' order by a.id)
                from quicksilver.alert as a
                where a.cleared_at is null
            ),
            (select max(g.fired_at) from quicksilver.gate_run as g),
            (
                select string_agg(d.name || coalesce(d.paused_at::text, ''), ',' order by d.name)
                from quicksilver.dataset as d
            )
        )
    ) as pulse


-- name: quarantine_size
select
    count(*) as bodies,
    coalesce(sum(length(q.body)), 0)::bigint as bytes,
    max(q.last_seen) as last_seen
from quicksilver.quarantine as q


-- name: unfinished
-- What is not built, or being built, newest first: with what it waits for or failed of.
select
    p.dataset,
    p.partition,
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
        p.dataset = b.dataset and p.partition = b.partition
        and quicksilver.is_active(b.state)
cross join lateral (select quicksilver.shown_state(p.state, d.paused_at) as shown_state) as s
where p.generation > 0 and s.shown_state = any(%(states)s)
order by since desc, p.dataset, p.partition
limit %(limit)s


-- name: calendar_months
-- A dataset's months: how many partitions each holds, how many of them in which state.
select
    date_trunc('month', p.dt)::date as month,
    count(*) as partitions,
    count(distinct p.dt) as days,
    count(*) filter (where s.shown_state = 'failed') as failed,
    count(*) filter (where s.shown_state in ('waiting', 'pending', 'paused')) as waiting,
    count(*) filter (where s.shown_state = 'running') as running
from quicksilver.partition as p
left join quicksilver.dataset as d on p.dataset = d.name
cross join lateral (select quicksilver.shown_state(p.state, d.paused_at) as shown_state) as s
where p.dataset = %(dataset)s and p.generation > 0 and p.dt is not null
group by 1
order by 1


-- name: last_partitions
-- The newest partitions of each dataset, as little of each as a cell of a strip shows.
select
    d.name as dataset,
    x.partition,
    x.generation,
    x.built_generation,
    quicksilver.cell_state(
        x.state, d.paused_at, x.gone_at, x.rows_bronze, x.rows_silver, x.rows_rejected,
        %(rejected_share)s::double precision
    ) as shown_state
from quicksilver.dataset as d
cross join lateral (
    select
        p.partition, p.generation, p.built_generation, p.state, p.gone_at, p.rows_bronze,
        p.rows_silver, p.rows_rejected
    from quicksilver.partition as p
    where p.dataset = d.name and p.generation > 0
    order by p.partition desc
    limit %(most)s
) as x
order by d.name, x.partition


-- name: recent_builds
-- The newest builds of each dataset that ended: what they took, and what they read.
select
    d.name as dataset,
    x.id,
    x.partition,
    x.state,
    extract(epoch from coalesce(x.published_at, x.finished_at) - x.claimed_at)::double precision as seconds,
    coalesce(x.published_at, x.finished_at) as ended_at,
    x.rows_bronze,
    x.rows_rejected
from quicksilver.dataset as d
cross join lateral (
    select b.id, b.partition, b.state, b.claimed_at, b.published_at, b.finished_at, b.rows_bronze, b.rows_rejected
    from quicksilver.build as b
    where
        b.dataset = d.name and b.finished_at is not null
        and b.state in ('succeeded', 'failed', 'lost')
    order by b.id desc
    limit %(most)s
) as x
where %(dataset)s::text is null or d.name = %(dataset)s
order by d.name, x.id


-- name: rows_a_day
select b.dataset, sum(b.rows_bronze)::bigint as rows_bronze
from quicksilver.build as b
where b.published_at >= %(since)s
group by b.dataset
