-- name: close_session
insert into quicksilver.closed_session (id, expires_at)
values (%(id)s, %(expires_at)s)
on conflict (id) do nothing


-- name: closed_session
select 1 from quicksilver.closed_session where id = %(id)s


-- name: list_actions
select a.id, a.at, a.actor, a.action, a.subject
from quicksilver.action as a
where
    (%(subject)s::text is null or a.subject = %(subject)s)
    and (%(part)s::text is null or position(lower(%(part)s) in lower(a.subject)) > 0)
    and (%(actor)s::text is null or position(lower(%(actor)s) in lower(a.actor)) > 0)
    and (%(action)s::text is null or a.action = %(action)s)
    and (%(before)s::bigint is null or a.id < %(before)s)
order by a.id desc
limit %(limit)s


-- name: log_action
insert into quicksilver.action (at, actor, action, subject)
select %(now)s, %(actor)s, %(action)s, s.subject
from unnest(%(subjects)s::text[]) with ordinality as s (subject, place)
order by s.place


-- name: pause_dataset
update quicksilver.dataset set
    paused_at = %(now)s, paused_by = %(actor)s, paused_for = %(reason)s
where name = %(name)s and paused_at is null
returning name


-- name: resume_dataset
update quicksilver.dataset set paused_at = null, paused_by = null, paused_for = null
where name = %(name)s and paused_at is not null
returning name
