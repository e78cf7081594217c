-- The version that holds the content now: an older one may be removed. A late event renews nothing.
update quicksilver.object as o set
    version_id = i.version_id,
    size = coalesce(i.size, o.size),
    last_modified = i.last_modified
from jsonb_to_recordset(%(items)s::jsonb) as i (
    bucket text, key text, etag text, version_id text, size bigint, last_modified timestamptz
)
where
    o.bucket = i.bucket and o.key = i.key and o.etag = i.etag
    and (o.last_modified is null or o.last_modified <= i.last_modified)
