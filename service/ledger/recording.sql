-- name: create_partitions
insert into quicksilver.partition (dataset, partition, dt)
select i.dataset, i.partition, i.dt
from jsonb_to_recordset(%(items)s::jsonb) as i (dataset text, partition text, dt date)
order by i.dataset, i.partition
on conflict (dataset, partition) do nothing


-- name: known_events
select identity from quicksilver.event
where identity = any(%(identities)s)


-- name: known_objects
select o.dataset, o.bucket, o.key, o.etag, o.version_id
from quicksilver.object as o
inner join jsonb_to_recordset(%(items)s::jsonb) as i (dataset text, bucket text, key text)
    on o.dataset = i.dataset and o.bucket = i.bucket and o.key = i.key


-- name: lock_partitions
-- In one order everywhere, so that two recorders cannot deadlock.
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
