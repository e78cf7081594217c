-- name: judge_partitions
update quicksilver.partition as p set
    state = case when i.wait_reason is null then 'pending' else 'waiting' end,
    wait_reason = i.wait_reason,
    due_at = i.due_at,
    updated_at = %(now)s
from jsonb_to_recordset(%(items)s::jsonb) as i (
    dataset text, partition text, wait_reason text, due_at timestamptz
)
where p.dataset = i.dataset and p.partition = i.partition and p.state = 'waiting'


-- name: partition_files
select o.dataset, o.partition, o.key
from quicksilver.object as o
inner join jsonb_to_recordset(%(items)s::jsonb) as i (dataset text, partition text)
    on o.dataset = i.dataset and o.partition = i.partition


-- name: waiting_partitions
-- What waits for its files; what is gone waits for others.
select
    p.dataset, p.partition, p.wait_reason, p.changed_at, p.dirty_since,
    case when isfinite(p.due_at) then p.due_at end as due_at
from quicksilver.partition as p
where
    p.dataset = %(dataset)s and p.state = 'waiting' and p.gone_at is null
    and (%(after)s::text is null or p.partition > %(after)s)
order by p.partition
limit %(limit)s
for update
