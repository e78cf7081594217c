-- name: clear_alert
update quicksilver.alert set cleared_at = %(now)s
where kind = %(kind)s and subject = %(subject)s and cleared_at is null


-- name: lane_last_at
-- When each lane last brought anything from a bucket.
select max(e.fast_at) as fast, max(e.durable_at) as durable
from quicksilver.event as e
where e.bucket = %(bucket)s and e.id > (select coalesce(max(x.id), 0) - 2000 from quicksilver.event as x)


-- name: list_canaries
select c.bucket, c.at, c.fast_state, c.fast_lag, c.durable_state, c.durable_lag, c.fault
from quicksilver.canary as c
where %(bucket)s::text is null or c.bucket = %(bucket)s
order by c.id desc
limit %(limit)s


-- name: newest_canaries
select distinct on (c.bucket)
    c.bucket, c.at, c.fast_state, c.fast_lag, c.durable_state, c.durable_lag, c.fault
from quicksilver.canary as c
order by c.bucket, c.id desc


-- name: newest_landings
-- Of what is declared and never had a landing: since when it is declared.
select d.name as dataset, d.declared_at, max(p.changed_at) as landed_at
from quicksilver.dataset as d
left join quicksilver.partition as p on d.name = p.dataset
group by d.name, d.declared_at


-- name: record_refusal
insert into quicksilver.refusal as r (lane, at)
values (%(lane)s, %(at)s)
on conflict (lane) do update set at = greatest(r.at, excluded.at)


-- name: overdue_partitions
select p.dataset, p.partition, p.state, p.dirty_since, p.wait_reason, p.error
from quicksilver.partition as p
inner join jsonb_to_recordset(%(items)s::jsonb) as i (name text, since timestamptz)
    on p.dataset = i.name
where quicksilver.is_dirty(p.state) and p.dirty_since < i.since
order by p.dirty_since
limit 100


-- name: prune_alerts
delete from quicksilver.alert where cleared_at < %(before)s


-- name: raise_alert
-- Raised already: a second observer adds nothing.
insert into quicksilver.alert (kind, subject, text, raised_at)
values (%(kind)s, %(subject)s, %(text)s, %(now)s)
on conflict (kind, subject) where cleared_at is null do nothing


-- name: record_canary
-- A canary's events are not needed any more: only its measurement stays.
with told as (
    delete from quicksilver.event
    where
        reason = 'ignored:canary'
        and key in (
            select k.key
            from (
                select c.keys
                from quicksilver.canary as c
                where c.bucket = %(bucket)s and c.at < %(events_before)s
                order by c.id desc
                limit 50
            ) as measured
            cross join lateral unnest(measured.keys) as k (key)
        )
),

old as (
    delete from quicksilver.canary where bucket = %(bucket)s and at < %(before)s
)

insert into quicksilver.canary (
    bucket, keys, at, fast_state, fast_lag, durable_state, durable_lag, fault
) values (
    %(bucket)s, %(keys)s, %(at)s, %(fast_state)s, %(fast_lag)s, %(durable_state)s,
    %(durable_lag)s, %(fault)s
)


-- name: refused_since
select exists (
    select from quicksilver.refusal as r
    where r.lane = %(lane)s and r.at >= %(moment)s
) as is_refused
