select o.bucket, o.key, o.etag, o.version_id
from quicksilver.object as o
inner join jsonb_to_recordset(%(items)s::jsonb) as i (bucket text, key text)
    on o.bucket = i.bucket and o.key = i.key
