select
    count(*) as bodies,
    coalesce(sum(length(q.body)), 0)::bigint as bytes,
    max(q.last_seen) as last_seen
from quicksilver.quarantine as q
