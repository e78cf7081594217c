select o.dataset, o.dt, o.key
from quicksilver.object as o
inner join jsonb_to_recordset(%(items)s::jsonb) as i (dataset text, dt date)
    on o.dataset = i.dataset and o.dt = i.dt
