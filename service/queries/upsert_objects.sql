insert into quicksilver.object (
    bucket, key, dataset, dt, etag, version_id, size, last_modified, found_by, seen_at
)
select
    i.bucket, i.key, i.dataset, i.dt, i.etag, i.version_id, i.size, i.last_modified,
    i.found_by, i.seen_at
from jsonb_to_recordset(%(items)s::jsonb) as i (
    bucket text, key text, dataset text, dt date, etag text, version_id text, size bigint,
    last_modified timestamptz, found_by text, seen_at timestamptz
)
order by i.bucket, i.key
on conflict (bucket, key) do update set
    etag = excluded.etag,
    version_id = excluded.version_id,
    size = excluded.size,
    last_modified = excluded.last_modified,
    found_by = excluded.found_by,
    seen_at = excluded.seen_at
