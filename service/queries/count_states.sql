select
    p.dataset,
    case
        when d.paused_at is not null and p.state in ('waiting', 'pending') then 'paused'
        else p.state
    end as shown_state,
    count(*) as partitions,
    min(p.dirty_since) as oldest
from quicksilver.partition as p
left join quicksilver.dataset as d on p.dataset = d.name
where p.generation > 0
group by 1, 2
order by 1, 2
