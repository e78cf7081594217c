select p.dataset, p.dt, p.state, p.dirty_since, p.wait_reason, p.error
from quicksilver.partition as p
inner join jsonb_to_recordset(%(items)s::jsonb) as i (name text, since timestamptz)
    on p.dataset = i.name
where p.state in ('waiting', 'pending') and p.dirty_since < i.since
order by p.dirty_since
limit 100
