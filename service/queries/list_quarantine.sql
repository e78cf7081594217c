select
    q.id, q.reason, q.lane, q.source, q.first_seen, q.last_seen, q.count,
    length(q.body) as size
from quicksilver.quarantine as q
order by q.last_seen desc, q.id desc
limit %(limit)s
