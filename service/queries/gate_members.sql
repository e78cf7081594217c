select
    p.dataset,
    p.dt,
    p.generation,
    p.built_generation,
    case
        -- Gone and built stands in silver as it was, or as nothing: either is complete.
        when p.gone_at is not null and p.state <> 'built' then 'gone'
        when d.paused_at is not null and p.state in ('waiting', 'pending') then 'paused'
        else p.state
    end as state
from quicksilver.partition as p
left join quicksilver.dataset as d on p.dataset = d.name
where p.dataset = any(%(datasets)s) and p.generation > 0
order by p.dataset, p.dt
