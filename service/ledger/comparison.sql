-- name: etags
select key, etag from quicksilver.object
where dataset = %(dataset)s and bucket = %(bucket)s and key = any(%(keys)s)


-- name: forget_gone
-- Only what was read: an object that was put again since has another row.
delete from quicksilver.object as o
using jsonb_to_recordset(%(items)s::jsonb) as i (
    dataset text, key text, etag text, seen_at timestamptz
)
where
    o.dataset = i.dataset and o.bucket = %(bucket)s and o.key = i.key
    and o.etag = i.etag and o.seen_at = i.seen_at
returning o.dataset, o.partition


-- name: kept_objects
-- In the order in which a store lists: by the bytes of the keys.
select o.key, o.etag, o.seen_at, o.dataset, o.partition
from quicksilver.object as o
where
    o.dataset = %(dataset)s
    and o.key collate "C" > %(after)s
    and (%(upto)s::text is null or o.key collate "C" <= %(upto)s)
    and starts_with(o.key, %(prefix)s)
order by o.key collate "C"
limit %(limit)s


-- name: mark_gone
-- What is built stays built.
update quicksilver.partition as p set
    gone_at = coalesce(p.gone_at, %(now)s),
    state = case when w.dataset is not null then 'waiting' else p.state end,
    wait_reason = case when w.dataset is not null then 'no file in the folder' else p.wait_reason end,
    due_at = case when w.dataset is not null then 'infinity' else p.due_at end,
    dirty_since = case when w.dataset is null then p.dirty_since end,
    updated_at = %(now)s
from jsonb_to_recordset(%(items)s::jsonb) as i (dataset text, partition text)
left join jsonb_to_recordset(%(waiting)s::jsonb) as w (dataset text, partition text)
    on i.dataset = w.dataset and i.partition = w.partition
where p.dataset = i.dataset and p.partition = i.partition


-- name: told_deleted
-- Partitions with an object that an event called deleted after it was seen last.
select distinct o.dataset, o.partition
from quicksilver.event as e
inner join quicksilver.object as o on e.bucket = o.bucket and e.key = o.key
where
    e.reason = 'ignored:delete'
    and e.received_at >= %(since)s
    and e.received_at >= o.seen_at
order by o.dataset, o.partition
limit 1000
