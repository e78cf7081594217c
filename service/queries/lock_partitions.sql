-- In one order everywhere, so that two recorders never wait for each other in a circle.
select
    p.dataset,
    p.dt,
    p.generation,
    p.built_generation,
    p.state,
    p.dirty_since,
    d.paused_at is not null as is_paused
from quicksilver.partition as p
inner join jsonb_to_recordset(%(items)s::jsonb) as i (dataset text, dt date)
    on p.dataset = i.dataset and p.dt = i.dt
left join quicksilver.dataset as d on p.dataset = d.name
order by p.dataset, p.dt
for update of p
