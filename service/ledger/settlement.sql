-- name: active_builds
-- A running build is held by an advisory lock of the flow's own session.
select
    b.id,
    b.dataset,
    b.partition,
    b.generation,
    b.state,
    b.flow_run_id,
    b.started_at,
    b.deadline_at,
    b.abandoned_at,
    b.cancel_requested_at,
    b.error,
    b.is_final,
    exists (
        select from pg_locks as l
        where
            l.locktype = 'advisory' and l.granted and l.objsubid = 2
            and l.classid = %(space)s::int::oid
            and l.objid = (b.id %% 2147483648)::int::oid
            and l.database = (select d.oid from pg_database as d where d.datname = current_database())
    ) as is_held
from quicksilver.build as b
where quicksilver.is_active(b.state)
order by b.id


-- name: extend_start
-- Shown on the partition too: it is what a person looks at.
with extended as (
    update quicksilver.build set deadline_at = %(deadline)s, error = %(error)s
    where id = %(build)s and state = 'dispatched' and cancel_requested_at is null
    returning dataset, partition
)

update quicksilver.partition as p set error = %(error)s, updated_at = %(now)s
from extended as e
where p.dataset = e.dataset and p.partition = e.partition


-- name: finish_build
-- Named by the state it expects: a build that moved on meanwhile is looked at again.
update quicksilver.build set
    state = %(state)s,
    finished_at = %(now)s,
    error = coalesce(%(error)s, error)
where id = %(build)s and state = %(expected)s
returning dataset, partition, generation, error


-- name: note_begun
-- Shown on the partition too: it is what a person looks at.
with begun as (
    update quicksilver.build set started_at = %(now)s, deadline_at = %(deadline)s
    where
        id = %(build)s and state = 'dispatched' and started_at is null
        and cancel_requested_at is null
    returning dataset, partition
)

update quicksilver.partition as p set started_at = %(now)s, updated_at = %(now)s
from begun as b
where p.dataset = b.dataset and p.partition = b.partition


-- name: record_abandoned
update quicksilver.build set abandoned_at = %(at)s
where id = %(build)s and state in ('running', 'published', 'yielded')
returning id


-- name: request_cancel
update quicksilver.build set
    cancel_requested_at = %(now)s,
    deadline_at = %(deadline)s,
    error = coalesce(error, %(error)s)
where id = %(build)s and state = %(expected)s
returning id


-- name: request_cancel_run
-- A run is stopped with all of its builds: each must know that no person did it. What is published
-- or yielded needs no reason: it ends as it said.
update quicksilver.build as b set
    cancel_requested_at = coalesce(b.cancel_requested_at, %(now)s),
    deadline_at = least(b.deadline_at, %(deadline)s),
    error = case
        when b.state in ('dispatched', 'running') then coalesce(b.error, %(error)s) else b.error
    end
from quicksilver.build as one
where
    one.id = %(build)s and b.run_key = one.run_key and b.id <> one.id
    and b.state in ('dispatched', 'running', 'published', 'yielded')


-- name: show_failed
-- A newer generation starts afresh; the same one waits its backoff or has used its attempts up.
update quicksilver.partition set
    state = case
        when generation > %(generation)s and wait_reason is not null then 'waiting'
        when generation > %(generation)s then 'pending'
        else %(state)s
    end,
    attempts = case
        when generation > %(generation)s then 0 else attempts + %(counted)s
    end,
    due_at = case when generation > %(generation)s then due_at else %(due_at)s end,
    -- What came during an attempt that failed waits for its own files.
    dirty_since = case
        when generation > %(generation)s and %(counted)s = 1 then received_at else dirty_since
    end,
    error = case when generation > %(generation)s then null else %(error)s end,
    updated_at = %(now)s
where dataset = %(dataset)s and partition = %(partition)s and state = 'running'
returning state
