select
    q.id, regexp_replace(q.reason, '^(quarantined:)?', 'quarantined:') as reason,
    q.lane, q.source, q.first_seen, q.last_seen, q.count, length(q.body) as size, q.body
from quicksilver.quarantine as q
where q.id = %(id)s
