-- name: beat
insert into quicksilver.dispatcher (owner, started_at, seen_at)
values (%(owner)s, %(now)s, %(now)s)
on conflict (owner) do update set seen_at = excluded.seen_at


-- name: count_up
insert into quicksilver.counter as c (name, value)
values (%(name)s, %(by)s)
on conflict (name) do update set value = c.value + excluded.value


-- name: dispatchers_alive
select count(*) as alive from quicksilver.dispatcher
where seen_at > %(alive_since)s


-- name: forget_dispatchers
delete from quicksilver.dispatcher
where seen_at < %(before)s


-- name: forget_sessions
delete from quicksilver.closed_session
where expires_at < %(now)s


-- name: next_due
-- When the dispatcher must look again without a notification.
select min(p.due_at) as due_at
from quicksilver.partition as p
inner join quicksilver.dataset as d
    on p.dataset = d.name and d.is_declared and d.paused_at is null
where quicksilver.is_dirty(p.state) and p.due_at > %(now)s and p.due_at < 'infinity'


-- name: present_time
select clock_timestamp() as moment


-- name: prune_events
-- Generations live with the partition: pruning an event frees none.
delete from quicksilver.event
where id in (
    select e.id from quicksilver.event as e
    where e.received_at < %(before)s and e.reason not in ('settling', 'paused')
    limit 10000
)


-- name: prune_manifests
-- By far the largest part of a build, and read by the run alone; rows of the data go with it.
update quicksilver.build set manifest = null, failed_rows = null
where id in (
    select b.id from quicksilver.build as b
    where
        b.finished_at < %(before)s
        and (b.manifest is not null or b.failed_rows is not null)
    limit 10000
)


-- name: prune_actions
delete from quicksilver.action
where id in (
    select a.id from quicksilver.action as a
    where a.at < %(before)s
    limit 10000
)


-- name: prune_gates
-- The newest firing of a set stays: without it the gate would fire again.
delete from quicksilver.gate_run as g
where
    g.fired_at < %(before)s
    and exists (
        select from quicksilver.gate_run as n
        where n.gate = g.gate and n.set_key = g.set_key and n.generation > g.generation
    )


-- name: raise_build_ids
-- Build ids are fencing tokens: those of a ledger made anew must exceed what the warehouse knows.
select setval(pg_get_serial_sequence('quicksilver.build', 'id'), %(above)s)
where
    %(above)s::bigint > coalesce(
        pg_sequence_last_value(pg_get_serial_sequence('quicksilver.build', 'id')::regclass), 0
    )


-- name: renew_identity
update quicksilver.identity set id = gen_random_uuid(), made_at = %(now)s


-- name: retire_dispatcher
delete from quicksilver.dispatcher
where owner = %(owner)s


-- name: sync_datasets
insert into quicksilver.dataset (name, newest_first, max_running, priority, is_declared)
select i.name, i.newest_first, i.max_running, i.priority, true
from jsonb_to_recordset(%(items)s::jsonb) as i (
    name text, newest_first boolean, max_running integer, priority integer
)
on conflict (name) do update set
    newest_first = excluded.newest_first,
    max_running = excluded.max_running,
    priority = excluded.priority,
    is_declared = true


-- name: undeclare_datasets
update quicksilver.dataset set is_declared = false
where is_declared and not name = any(%(names)s)
returning name
