-- Keyset pages: the order is (dataset, dt) and `after` is the last row of the page before.
select
    p.*,
    case
        when d.paused_at is not null and p.state in ('waiting', 'pending') then 'paused'
        else p.state
    end as shown_state
from quicksilver.partition as p
left join quicksilver.dataset as d on p.dataset = d.name
where
    (%(dataset)s::text is null or p.dataset = %(dataset)s)
    and (
        %(state)s::text is null
        or %(state)s = case
            when d.paused_at is not null and p.state in ('waiting', 'pending') then 'paused'
            else p.state
        end
    )
    and (
        %(after_dataset)s::text is null
        or (p.dataset, p.dt) > (%(after_dataset)s, %(after_dt)s::date)
    )
    and (%(dts)s::date[] is null or p.dt = any(%(dts)s))
    and p.generation > 0
order by p.dataset, p.dt
limit %(limit)s
