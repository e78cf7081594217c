-- name: build_way
select
    b.id, b.dataset, b.partition, b.generation, b.state, b.flow_run_id, b.put_at, b.received_at,
    b.claimed_at, b.dispatched_at, b.started_at, b.loaded_at, b.published_at, b.finished_at,
    b.rows_bronze, b.rows_silver, b.rows_rejected
from quicksilver.build as b
where b.id = %(build)s


-- name: count_states
select
    p.dataset,
    quicksilver.shown_state(p.state, d.paused_at) as shown_state,
    count(*) as partitions,
    min(p.dirty_since) as oldest
from quicksilver.partition as p
left join quicksilver.dataset as d on p.dataset = d.name
where p.generation > 0
group by 1, 2
order by 1, 2


-- name: list_datasets
select d.name, d.is_declared, d.paused_at, d.paused_by, d.paused_for, d.newest_first, d.max_running, d.priority
from quicksilver.dataset as d
order by d.name


-- name: list_counters
select name, value from quicksilver.counter
order by name


-- name: list_events
select
    e.id, e.event_name, e.bucket, e.key, e.dataset, e.partition, e.generation, e.etag, e.version_id,
    e.size, e.sequencer, e.event_at, e.received_at, e.fast_at, e.durable_at, e.deliveries,
    e.source, e.reason, e.outcome
from quicksilver.event as e
-- A duplicate is not an event of its own: it adds to the deliveries of the first.
where
    (%(dataset)s::text is null or e.dataset = %(dataset)s)
    and (%(partition)s::text is null or e.partition = %(partition)s)
    and (%(bucket)s::text is null or e.bucket = %(bucket)s)
    and (%(key)s::text is null or e.key = %(key)s)
    and (
        %(reason)s::text is null
        or e.reason = %(reason)s or e.reason like %(reason)s || ':%%'
        or (%(reason)s = 'duplicate' and e.deliveries > 1)
    )
    and (%(before)s::bigint is null or e.id < %(before)s)
order by e.id desc
limit %(limit)s


-- name: list_partitions
-- Keyset pages: the order is (dataset, partition) and `after` is the last row of the page before.
select p.*
from quicksilver.shown_partition as p
where
    (%(dataset)s::text is null or p.dataset = %(dataset)s)
    and (%(state)s::text is null or p.shown_state = %(state)s)
    and (
        %(after_dataset)s::text is null
        or (p.dataset, p.partition) > (%(after_dataset)s, %(after_partition)s)
    )
    and (%(names)s::text[] is null or p.partition = any(%(names)s))
order by p.dataset, p.partition
limit %(limit)s


-- name: partition_builds
select
    b.id, b.generation, b.attempt, b.state, b.idempotency_key, b.owner, b.flow_run_id,
    b.manifest, b.put_at, b.received_at, b.dirty_since, b.due_at, b.asked_by, b.claimed_at,
    b.dispatched_at, b.taken_at, b.started_at,
    b.loaded_at, b.published_at, b.finished_at, b.error, b.rows_bronze, b.rows_silver,
    b.rows_rejected, b.details, b.failed_rows,
    -- How many builds its run has, itself among them.
    greatest(1, (select count(*) from quicksilver.build as x where x.run_key = b.run_key)) as run_builds
from quicksilver.build as b
where b.dataset = %(dataset)s and b.partition = %(partition)s
order by b.id desc
limit %(limit)s


-- name: partition_trace
select p.traceparent
from quicksilver.partition as p
where p.dataset = %(dataset)s and p.partition = %(partition)s
