-- Every partition of a dataset in a span of days, as little of each as a cell shows.
select
    p.dt,
    case
        when p.gone_at is not null and p.state in ('built', 'waiting') then 'gone'
        when d.paused_at is not null and p.state in ('waiting', 'pending') then 'paused'
        else p.state
    end as shown_state,
    p.generation,
    p.built_generation
from quicksilver.partition as p
left join quicksilver.dataset as d on p.dataset = d.name
where
    p.dataset = %(dataset)s and p.generation > 0
    and (%(first)s::date is null or p.dt >= %(first)s)
    and (%(last)s::date is null or p.dt <= %(last)s)
order by p.dt
