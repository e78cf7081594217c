-- name: adopt_build
-- A claim whose owner gave no sign of life for a lease: the key makes a second create harmless.
update quicksilver.build as b set
    owner = %(owner)s,
    deadline_at = %(deadline)s
where
    b.state = 'claimed' and b.owner <> %(owner)s
    and b.deadline_at < %(now)s
    and not exists (
        select from quicksilver.dispatcher as d
        where d.owner = b.owner and d.seen_at > %(alive_since)s
    )
returning b.id


-- name: active_runs
-- What each dataset has under way; builds that share a run count once.
select
    b.dataset,
    count(distinct coalesce(b.run_key, b.id::text)) as runs,
    bool_or(b.run_key is not null) as has_batches
from quicksilver.build as b
where quicksilver.is_active(b.state)
group by b.dataset


-- name: due_partitions
-- Of each dataset the partitions that are built next, in their order: enough to choose from.
select p.dataset, p.partition, p.attempts, p.priority + d.priority as priority, p.turn, d.max_running
from quicksilver.dataset as d
cross join lateral (
    (
        select x.dataset, x.partition, x.attempts, x.priority, extract(epoch from x.dirty_since) as turn
        from quicksilver.partition as x
        where
            not d.newest_first and x.dataset = d.name
            and quicksilver.is_dirty(x.state) and x.due_at <= %(now)s
            and (%(only)s::text[] is null or x.partition = any(%(only)s))
        order by x.priority desc, x.dirty_since, x.partition
        limit %(most)s
    )
    union all
    (
        select x.dataset, x.partition, x.attempts, x.priority, -extract(epoch from x.dirty_since) as turn
        from quicksilver.partition as x
        where
            d.newest_first and x.dataset = d.name
            and quicksilver.is_dirty(x.state) and x.due_at <= %(now)s
            and (%(only)s::text[] is null or x.partition = any(%(only)s))
        order by x.priority desc, x.dirty_since desc, x.partition
        limit %(most)s
    )
) as p
where
    d.is_declared and d.paused_at is null
    and (%(datasets)s::text[] is null or d.name = any(%(datasets)s))
    and not d.name = any(%(held)s)
    and not exists (
        select from quicksilver.build as b
        where
            b.dataset = p.dataset and b.partition = p.partition
            and quicksilver.is_active(b.state)
    )
order by p.dataset, priority desc, p.turn, p.partition


-- name: take_partitions
-- A partition that another session has locked is taken by the next pass.
with chosen as (
    select p.dataset, p.partition, i.run_key, i.place
    from quicksilver.partition as p
    inner join jsonb_to_recordset(%(items)s::jsonb) as i (
        dataset text, partition text, run_key text, place integer
    )
        on p.dataset = i.dataset and p.partition = i.partition
    where quicksilver.is_dirty(p.state)
    for update of p skip locked
),

taken as (
    update quicksilver.partition as p set
        state = 'running',
        wait_reason = null,
        updated_at = %(now)s
    from chosen as c
    where p.dataset = c.dataset and p.partition = c.partition
    returning
        p.dataset, p.partition, p.generation, p.dirty_since, c.run_key, c.place,
        case when isfinite(p.due_at) then p.due_at end as due_at,
        case when p.is_forced then p.asked_by end as asked_by
)

insert into quicksilver.build (
    dataset, partition, generation, owner, claimed_at, deadline_at, run_key,
    dirty_since, due_at, asked_by
)
select
    t.dataset, t.partition, t.generation, %(owner)s, %(now)s, %(deadline)s, t.run_key,
    t.dirty_since, t.due_at, t.asked_by
from taken as t
order by t.place
returning id, dataset, partition, generation, run_key


-- name: lock_claims
-- Claims are short and counted: one at a time over all replicas keeps the limits exact.
select pg_advisory_xact_lock(%(lock)s)


-- name: mark_dispatched
-- The flow may have begun before this mark: then only the run's id is still to be kept.
update quicksilver.build set
    state = case when state = 'claimed' then 'dispatched' else state end,
    flow_run_id = coalesce(flow_run_id, %(flow_run_id)s),
    dispatched_at = %(now)s,
    deadline_at = case when state = 'claimed' then %(deadline)s else deadline_at end
where
    id = %(build)s and owner = %(owner)s
    and state in ('claimed', 'running', 'published', 'yielded')
returning state, generation


-- name: own_claims
select
    b.id, b.dataset, b.partition, b.generation, b.claimed_at, b.run_key,
    d.paused_at is not null as is_paused
from quicksilver.build as b
left join quicksilver.dataset as d on b.dataset = d.name
where b.state = 'claimed' and b.owner = %(owner)s
order by b.id


-- name: release_build
-- A claim that never had a key leaves no trace: Prefect never saw it.
delete from quicksilver.build
where id = %(build)s and state = 'claimed' and owner = %(owner)s and idempotency_key is null
returning id


-- name: release_partition
update quicksilver.partition set
    state = %(state)s,
    wait_reason = %(wait_reason)s,
    due_at = %(due_at)s,
    error = coalesce(%(error)s, error),
    -- The cause of a refusal may be fixed: an attempt is left for the build itself.
    attempts = least(attempts + %(counted)s, greatest(attempts, %(at_most)s)),
    updated_at = %(now)s
where dataset = %(dataset)s and partition = %(partition)s and state = 'running'
returning dataset


-- name: show_dispatched
update quicksilver.partition set
    flow_run_id = %(flow_run_id)s,
    dispatched_at = %(now)s,
    started_at = case when started_at >= %(claimed_at)s then started_at end,
    loaded_at = null,
    built_at = case when built_at >= %(claimed_at)s then built_at end,
    updated_at = %(now)s
where dataset = %(dataset)s and partition = %(partition)s


-- name: spend_build
-- A sealed claim may have reached Prefect, whose answer was lost: its key is spent, not freed.
update quicksilver.build set
    state = 'superseded',
    finished_at = %(now)s,
    error = %(error)s
where
    id = %(build)s and state = 'claimed' and owner = %(owner)s
    and idempotency_key is not null
returning id
