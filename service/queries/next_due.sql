-- When the dispatcher must look again although nobody woke it.
select min(p.due_at) as due_at
from quicksilver.partition as p
inner join quicksilver.dataset as d
    on p.dataset = d.name and d.is_declared and d.paused_at is null
where p.state in ('waiting', 'pending') and p.due_at > %(now)s and p.due_at < 'infinity'
