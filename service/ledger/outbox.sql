-- name: announce
insert into quicksilver.announcement (name, resource, payload, at)
select i.name, i.resource, i.payload, i.at
from jsonb_to_recordset(%(items)s::jsonb) as i (
    name text, resource text, payload jsonb, at timestamptz
)


-- name: mark_announced
update quicksilver.announcement set sent_at = %(now)s
where id = any(%(ids)s) and sent_at is null


-- name: prune_announcements
delete from quicksilver.announcement
where sent_at < %(before)s


-- name: unsent_announcements
select a.id, a.name, a.resource, a.payload, a.at
from quicksilver.announcement as a
where a.sent_at is null
order by a.id
limit %(limit)s
