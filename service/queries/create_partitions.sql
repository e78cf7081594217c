insert into quicksilver.partition (dataset, dt)
select i.dataset, i.dt
from jsonb_to_recordset(%(items)s::jsonb) as i (dataset text, dt date)
order by i.dataset, i.dt
on conflict (dataset, dt) do nothing
