select c.bucket, c.at, c.fast_state, c.fast_lag, c.durable_state, c.durable_lag, c.fault
from quicksilver.canary as c
where %(bucket)s::text is null or c.bucket = %(bucket)s
order by c.id desc
limit %(limit)s
