select p.dataset, p.dt, p.generation, p.built_generation, p.state
from quicksilver.partition as p
where p.dataset = any(%(datasets)s) and p.generation > 0 and p.gone_at is null
order by p.dataset, p.dt
