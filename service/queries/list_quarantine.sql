-- `forms`: a key as bodies may write it. Bodies are few and bounded, so they are simply read.
select
    q.id, regexp_replace(q.reason, '^(quarantined:)?', 'quarantined:') as reason,
    q.lane, q.source, q.first_seen, q.last_seen, q.count, length(q.body) as size
from quicksilver.quarantine as q
where
    %(forms)s::bytea[] is null
    or exists (select from unnest(%(forms)s::bytea[]) as f (form) where position(f.form in q.body) > 0)
order by q.last_seen desc, q.id desc
limit %(limit)s
