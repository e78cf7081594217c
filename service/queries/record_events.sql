-- A second delivery of one event adds to its row: the reason it got first stays.
insert into quicksilver.event as e (
    identity, event_name, bucket, key, dataset, dt, generation, etag, version_id, size,
    sequencer, event_at, received_at, fast_at, durable_at, deliveries, source, reason
)
select
    decode(i.identity, 'hex'), i.event_name, i.bucket, i.key, i.dataset, i.dt, i.generation,
    i.etag, i.version_id, i.size, i.sequencer, i.event_at, i.received_at, i.fast_at,
    i.durable_at, i.deliveries, i.source, i.reason
from jsonb_to_recordset(%(items)s::jsonb) as i (
    identity text, event_name text, bucket text, key text, dataset text, dt date,
    generation bigint, etag text, version_id text, size bigint, sequencer text,
    event_at timestamptz, received_at timestamptz, fast_at timestamptz,
    durable_at timestamptz, deliveries integer, source text, reason text
)
order by i.identity
on conflict (identity) do update set
    deliveries = e.deliveries + excluded.deliveries,
    fast_at = coalesce(e.fast_at, excluded.fast_at),
    durable_at = coalesce(e.durable_at, excluded.durable_at)
