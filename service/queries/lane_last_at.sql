-- When each lane last brought anything from a bucket.
select max(e.fast_at) as fast, max(e.durable_at) as durable
from quicksilver.event as e
where e.bucket = %(bucket)s and e.id > (select coalesce(max(x.id), 0) - 2000 from quicksilver.event as x)
