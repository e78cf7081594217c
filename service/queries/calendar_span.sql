-- The first and last partition of each dataset, and whether all of them begin a month.
select
    p.dataset,
    min(p.dt) as first_dt,
    max(p.dt) as last_dt,
    bool_and(extract(day from p.dt) = 1) as is_monthly
from quicksilver.partition as p
where p.generation > 0
group by p.dataset
order by p.dataset
