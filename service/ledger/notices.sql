-- Alerts as causes that people are told of. They are raised and cleared in watch.sql.


-- name: failure_causes
-- Failed partitions by dataset and cause.
select
    p.dataset,
    quicksilver.cause_of(p.error) as cause,
    count(*) as partitions,
    min(p.updated_at) as since,
    (array_agg(split_part(coalesce(p.error, 'no reason was given'), E'\n', 1) order by p.updated_at desc))[1] as error,
    (array_agg(p.partition order by p.updated_at desc))[1] as name
from quicksilver.partition as p
where p.state = 'failed'
group by 1, 2
order by count(*) desc, p.dataset, 2
limit %(limit)s


-- name: quarantine_causes
select regexp_replace(q.reason, '^(quarantined:)?', 'quarantined:') as reason, count(*) as bodies
from quicksilver.quarantine as q
group by 1
order by 1
limit 50


-- name: partitions_of_cause
select p.dataset, p.partition, p.dt
from quicksilver.partition as p
where
    p.state = 'failed'
    and p.dataset = %(dataset)s
    and quicksilver.cause_of(p.error) = %(cause)s
order by p.partition
limit %(limit)s


-- name: restate_alert
update quicksilver.alert set text = %(text)s, count = %(count)s, link = %(link)s
where
    kind = %(kind)s and subject = %(subject)s and cleared_at is null
    and (text <> %(text)s or count <> %(count)s or link <> %(link)s)


-- name: list_alerts
select
    a.id, a.kind, a.subject, a.text, a.count, a.link, a.raised_at, a.cleared_at, a.told_at,
    a.end_told_at, a.silenced_by, a.silenced_for,
    case when a.silenced_until > %(now)s then a.silenced_until end as silenced_until
from quicksilver.alert as a
where a.cleared_at is null or not %(is_open)s
order by a.cleared_at is not null, a.id desc
limit %(limit)s


-- name: open_alert
select a.id, a.kind, a.subject, a.text, a.count
from quicksilver.alert as a
where a.id = %(id)s and a.cleared_at is null


-- name: lease_notices
-- Alerts to send: new ones, and the end of those that were sent.
update quicksilver.alert as a set telling_until = %(until)s
from (
    select x.id
    from quicksilver.alert as x
    where
        (x.telling_until is null or x.telling_until < %(now)s)
        and (x.silenced_until is null or x.silenced_until < %(now)s)
        and (
            (
                x.told_at is null and x.cleared_at is null and x.raised_at <= %(raised_before)s
                -- Alerts that an unreachable store causes: its own alert names the cause.
                and (
                    not x.kind = any(%(consequences)s)
                    or (
                        x.raised_at <= %(consequences_before)s
                        and not exists (
                            select from quicksilver.alert as c
                            where
                                c.kind = 'part' and c.subject = 'minio' and c.cleared_at is null
                        )
                    )
                )
            )
            or (x.told_at is not null and x.cleared_at is not null and x.end_told_at is null)
        )
    order by x.id
    limit %(limit)s
    for update skip locked
) as due
where a.id = due.id
returning a.id, a.kind, a.subject, a.text, a.count, a.link, a.raised_at, a.cleared_at


-- name: mark_told
update quicksilver.alert set
    told_at = coalesce(told_at, %(now)s),
    end_told_at = case when id = any(%(ended)s::bigint[]) then %(now)s else end_told_at end,
    telling_until = null
where id = any(%(ids)s::bigint[])


-- name: release_notices
update quicksilver.alert set telling_until = null
where id = any(%(ids)s::bigint[])


-- name: silence_alert
update quicksilver.alert set
    silenced_until = %(until)s, silenced_by = %(actor)s, silenced_for = %(reason)s
where id = %(id)s and cleared_at is null
returning kind, subject


-- name: stuck_dispatch
-- Partitions that are due while slots are free, when nothing was claimed for a while.
select count(*) as partitions, min(p.dirty_since) as since
from quicksilver.partition as p
inner join quicksilver.dataset as d on p.dataset = d.name
where
    p.state = 'pending' and d.is_declared and d.paused_at is null
    and p.due_at < %(before)s and p.dirty_since < %(before)s
    and not exists (select from quicksilver.build as b where b.claimed_at > %(before)s)
    and (
        select count(*) from quicksilver.build as b
        where quicksilver.is_active(b.state)
    ) < %(slots)s
