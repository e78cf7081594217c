-- name: create_partitions
insert into quicksilver.partition (dataset, partition, dt)
select i.dataset, i.partition, i.dt
from jsonb_to_recordset(%(items)s::jsonb) as i (dataset text, partition text, dt date)
order by i.dataset, i.partition
on conflict (dataset, partition) do nothing


-- name: etags
select key, etag from quicksilver.object
where dataset = %(dataset)s and bucket = %(bucket)s and key = any(%(keys)s)


-- name: known_events
select identity from quicksilver.event
where identity = any(%(identities)s)


-- name: known_objects
select o.dataset, o.bucket, o.key, o.etag, o.version_id
from quicksilver.object as o
inner join jsonb_to_recordset(%(items)s::jsonb) as i (dataset text, bucket text, key text)
    on o.dataset = i.dataset and o.bucket = i.bucket and o.key = i.key


-- name: judge_partitions
update quicksilver.partition as p set
    state = case when i.wait_reason is null then 'pending' else 'waiting' end,
    wait_reason = i.wait_reason,
    due_at = i.due_at,
    updated_at = %(now)s
from jsonb_to_recordset(%(items)s::jsonb) as i (
    dataset text, partition text, wait_reason text, due_at timestamptz
)
where p.dataset = i.dataset and p.partition = i.partition and p.state = 'waiting'


-- name: lock_partitions
-- In one order everywhere, so that two recorders never wait for each other in a circle.
select
    p.dataset,
    p.partition,
    p.generation,
    p.built_generation,
    p.state,
    p.dirty_since,
    p.built_manifest is not null as has_built,
    d.paused_at is not null as is_paused
from quicksilver.partition as p
inner join jsonb_to_recordset(%(items)s::jsonb) as i (dataset text, partition text)
    on p.dataset = i.dataset and p.partition = i.partition
left join quicksilver.dataset as d on p.dataset = d.name
order by p.dataset, p.partition
for update of p


-- name: kept_objects
-- In the order in which a store lists: by the bytes of the keys.
select o.key, o.etag, o.seen_at, o.dataset, o.partition
from quicksilver.object as o
where
    o.dataset = %(dataset)s
    and o.key collate "C" > %(after)s
    and (%(upto)s::text is null or o.key collate "C" <= %(upto)s)
    and starts_with(o.key, %(prefix)s)
order by o.key collate "C"
limit %(limit)s


-- name: partition_files
select o.dataset, o.partition, o.key
from quicksilver.object as o
inner join jsonb_to_recordset(%(items)s::jsonb) as i (dataset text, partition text)
    on o.dataset = i.dataset and o.partition = i.partition


-- name: raise_generations
-- A running build keeps the state `running`; what was raised meanwhile waits behind it.
update quicksilver.partition as p set
    generation = p.generation + i.versions,
    state = case when p.state = 'running' then p.state else i.state end,
    wait_reason = i.wait_reason,
    due_at = i.due_at,
    attempts = 0,
    error = null,
    gone_at = null,
    -- What failed starts afresh, as its attempts do.
    dirty_since = case
        when p.state = 'failed' then i.received_at else coalesce(p.dirty_since, i.received_at)
    end,
    changed_at = i.received_at,
    -- A backfill does not send back what waits in its own right.
    priority = case
        when p.state in ('waiting', 'pending') then greatest(p.priority, i.priority) else i.priority
    end,
    is_forced = p.is_forced or i.is_forced,
    asked_by = case
        when i.is_forced then i.asked_by
        when p.is_forced then p.asked_by
    end,
    put_at = i.put_at,
    received_at = i.received_at,
    traceparent = i.traceparent,
    updated_at = i.received_at
from jsonb_to_recordset(%(items)s::jsonb) as i (
    dataset text, partition text, versions integer, state text, wait_reason text,
    due_at timestamptz, put_at timestamptz, received_at timestamptz, priority integer,
    is_forced boolean, asked_by text, traceparent text
)
where p.dataset = i.dataset and p.partition = i.partition


-- name: record_events
-- A second delivery of one event adds to its row: the reason it got first stays.
insert into quicksilver.event as e (
    identity, event_name, bucket, key, dataset, partition, generation, etag, version_id, size,
    sequencer, event_at, received_at, fast_at, durable_at, deliveries, source, reason
)
select
    decode(i.identity, 'hex'), i.event_name, i.bucket, i.key, i.dataset, i.partition, i.generation,
    i.etag, i.version_id, i.size, i.sequencer, i.event_at, i.received_at, i.fast_at,
    i.durable_at, i.deliveries, i.source, i.reason
from jsonb_to_recordset(%(items)s::jsonb) as i (
    identity text, event_name text, bucket text, key text, dataset text, partition text,
    generation bigint, etag text, version_id text, size bigint, sequencer text,
    event_at timestamptz, received_at timestamptz, fast_at timestamptz,
    durable_at timestamptz, deliveries integer, source text, reason text
)
order by i.identity
on conflict (identity) do update set
    deliveries = e.deliveries + excluded.deliveries,
    fast_at = coalesce(e.fast_at, excluded.fast_at),
    durable_at = coalesce(e.durable_at, excluded.durable_at)


-- name: renew_objects
-- The version that holds the content now: an older one may be removed. A late event renews nothing.
update quicksilver.object as o set
    version_id = i.version_id,
    size = coalesce(i.size, o.size),
    last_modified = i.last_modified
from jsonb_to_recordset(%(items)s::jsonb) as i (
    dataset text, bucket text, key text, etag text, version_id text, size bigint,
    last_modified timestamptz
)
where
    o.dataset = i.dataset and o.bucket = i.bucket and o.key = i.key and o.etag = i.etag
    and (o.last_modified is null or o.last_modified <= i.last_modified)


-- name: waiting_partitions
-- What waits for its files; what is gone waits for others.
select
    p.dataset, p.partition, p.wait_reason, p.changed_at, p.dirty_since,
    case when isfinite(p.due_at) then p.due_at end as due_at
from quicksilver.partition as p
where
    p.dataset = %(dataset)s and p.state = 'waiting' and p.gone_at is null
    and (%(after)s::text is null or p.partition > %(after)s)
order by p.partition
limit %(limit)s
for update


-- name: upsert_objects
insert into quicksilver.object (
    bucket, key, dataset, partition, etag, version_id, size, last_modified, found_by, seen_at
)
select
    i.bucket, i.key, i.dataset, i.partition, i.etag, i.version_id, i.size, i.last_modified,
    i.found_by, i.seen_at
from jsonb_to_recordset(%(items)s::jsonb) as i (
    bucket text, key text, dataset text, partition text, etag text, version_id text, size bigint,
    last_modified timestamptz, found_by text, seen_at timestamptz
)
order by i.dataset, i.bucket, i.key
on conflict (dataset, bucket, key) do update set
    etag = excluded.etag,
    version_id = excluded.version_id,
    size = excluded.size,
    last_modified = excluded.last_modified,
    found_by = excluded.found_by,
    seen_at = excluded.seen_at


-- name: forget_gone
-- What was read, and nothing that came since: an object put again has another row.
delete from quicksilver.object as o
using jsonb_to_recordset(%(items)s::jsonb) as i (
    dataset text, key text, etag text, seen_at timestamptz
)
where
    o.dataset = i.dataset and o.bucket = %(bucket)s and o.key = i.key
    and o.etag = i.etag and o.seen_at = i.seen_at
returning o.dataset, o.partition


-- name: mark_all_gone
update quicksilver.partition as p set
    gone_at = coalesce(p.gone_at, %(now)s),
    state = case when w.dataset is not null then 'waiting' else p.state end,
    wait_reason = case when w.dataset is not null then 'no file in the folder' else p.wait_reason end,
    due_at = case when w.dataset is not null then 'infinity' else p.due_at end,
    dirty_since = case when w.dataset is null then p.dirty_since end,
    updated_at = %(now)s
from jsonb_to_recordset(%(items)s::jsonb) as i (dataset text, partition text)
left join jsonb_to_recordset(%(waiting)s::jsonb) as w (dataset text, partition text)
    on i.dataset = w.dataset and i.partition = w.partition
where p.dataset = i.dataset and p.partition = i.partition


-- name: forget_objects
delete from quicksilver.object
where dataset = %(dataset)s and bucket = %(bucket)s and key = any(%(keys)s)


-- name: mark_gone
-- What silver holds of it stays, unless the dataset says otherwise. What is built stays built;
-- what was dirty waits for a file, and is late for nothing meanwhile.
update quicksilver.partition set
    gone_at = coalesce(gone_at, %(now)s),
    state = case when state = any(%(dirty)s) then 'waiting' else state end,
    wait_reason = case when state = any(%(dirty)s) then 'no file in the folder' else wait_reason end,
    due_at = case when state = any(%(dirty)s) then 'infinity' else due_at end,
    dirty_since = case when state = any(%(dirty)s) then null else dirty_since end,
    updated_at = %(now)s
where dataset = %(dataset)s and partition = %(partition)s
