-- name: bound_quarantine
-- The newest are kept, up to a number and a size; what goes is counted.
with kept as (
    select
        q.id,
        row_number() over w as place,
        sum(length(q.body)) over w as bytes
    from quicksilver.quarantine as q
    window w as (order by q.last_seen desc, q.id desc)
),

dropped as (
    delete from quicksilver.quarantine as q
    using kept as k
    where q.id = k.id and (k.place > %(rows)s or k.bytes > %(bytes)s)
    returning q.id
)

insert into quicksilver.counter as c (name, value)
select 'quarantine_dropped', count(*) from dropped
having count(*) > 0
on conflict (name) do update set value = c.value + excluded.value
returning value


-- name: discard_quarantine
delete from quicksilver.quarantine
where id = %(id)s
returning id


-- name: list_quarantine
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


-- name: quarantine_body
insert into quicksilver.quarantine as q (
    digest, reason, body, lane, source, first_seen, last_seen
)
values (%(digest)s, %(reason)s, %(body)s, %(lane)s, %(source)s, %(now)s, %(now)s)
on conflict (digest) do update set
    count = q.count + 1,
    last_seen = excluded.last_seen,
    reason = excluded.reason
returning id, count


-- name: show_quarantine
select
    q.id, regexp_replace(q.reason, '^(quarantined:)?', 'quarantined:') as reason,
    q.lane, q.source, q.first_seen, q.last_seen, q.count, length(q.body) as size, q.body
from quicksilver.quarantine as q
where q.id = %(id)s
