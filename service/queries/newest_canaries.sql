select distinct on (c.bucket)
    c.bucket, c.at, c.fast_state, c.fast_lag, c.durable_state, c.durable_lag, c.fault
from quicksilver.canary as c
order by c.bucket, c.id desc
