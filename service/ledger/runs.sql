-- name: begin_build
-- Finish only what you still hold: a build that was given up cannot begin. All builds of the run.
update quicksilver.build set
    state = 'running',
    flow_run_id = %(flow_run_id)s,
    started_at = %(now)s,
    taken_at = coalesce(taken_at, %(taken_at)s),
    deadline_at = %(deadline)s,
    abandoned_at = null
where
    (run_key = %(key)s or (idempotency_key = %(key)s and run_key is null))
    and idempotency_key is not null
    and (
        state in ('claimed', 'dispatched')
        or (state = 'running' and flow_run_id = %(flow_run_id)s)
    )
returning id, dataset, partition, generation, attempt, manifest, traceparent


-- name: lock_partition_of
-- Partition first, build second: one order everywhere, so that transitions cannot deadlock.
-- Those of a run that several builds share in their own order, for the same reason.
select p.dataset, p.partition
from quicksilver.partition as p
inner join quicksilver.build as b on p.dataset = b.dataset and p.partition = b.partition
where b.id = %(build)s::bigint or b.idempotency_key = %(key)s::text or b.run_key = %(key)s::text
order by p.dataset, p.partition
for update of p


-- name: partitions_of_run
select p.dataset, p.partition, p.dt
from quicksilver.build as b
inner join quicksilver.partition as p on b.dataset = p.dataset and b.partition = p.partition
where b.idempotency_key = %(key)s or b.run_key = %(key)s
order by p.dataset, p.partition


-- name: record_error
update quicksilver.build set
    error = %(error)s,
    is_final = %(is_final)s,
    failed_rows = %(rows)s::jsonb
where id = %(build)s and state = 'running'
returning id


-- name: note_details
update quicksilver.build set details = coalesce(details, '{}') || %(details)s::jsonb
where flow_run_id = %(flow_run_id)s


-- name: publish_build
update quicksilver.build set
    state = 'published',
    loaded_at = %(loaded_at)s,
    published_at = %(now)s,
    rows_bronze = %(rows_bronze)s,
    rows_silver = %(rows_silver)s,
    rows_rejected = %(rows_rejected)s,
    details = %(details)s::jsonb,
    error = null
-- A run of a flow that does not report to the ledger ends as it was dispatched.
where id = %(build)s and state in ('dispatched', 'running')
returning dataset, partition, generation, manifest


-- name: show_published
update quicksilver.partition set
    built_generation = greatest(built_generation, %(generation)s),
    built_manifest = %(manifest)s::jsonb,
    state = case
        when generation <= %(generation)s then 'built'
        when wait_reason is not null then 'waiting'
        else 'pending'
    end,
    wait_reason = case when generation > %(generation)s then wait_reason end,
    dirty_since = case when generation > %(generation)s then received_at end,
    is_forced = is_forced and generation > %(generation)s,
    attempts = 0,
    error = null,
    loaded_at = %(loaded_at)s,
    built_at = %(now)s,
    rows_bronze = %(rows_bronze)s,
    rows_silver = %(rows_silver)s,
    rows_rejected = %(rows_rejected)s,
    updated_at = %(now)s
where dataset = %(dataset)s and partition = %(partition)s
returning state, generation


-- name: show_started
update quicksilver.partition set
    started_at = %(now)s,
    loaded_at = null,
    built_at = null,
    flow_run_id = %(flow_run_id)s,
    updated_at = %(now)s
where dataset = %(dataset)s and partition = %(partition)s


-- name: yield_build
update quicksilver.build set
    state = 'yielded',
    error = %(error)s
where id = %(build)s and state = 'running'
returning id
