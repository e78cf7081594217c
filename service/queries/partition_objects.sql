select o.key, o.etag, o.version_id, o.size, o.last_modified
from quicksilver.object as o
where o.dataset = %(dataset)s and o.dt = %(dt)s and o.bucket = %(bucket)s
order by o.key
