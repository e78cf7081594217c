-- The oldest due partitions, as many as there are free slots, each with a build of its own.
-- The caller holds the claim lock, so the counts below are the counts.
with active as (
    select b.dataset, count(*) as running
    from quicksilver.build as b
    where b.state in ('claimed', 'dispatched', 'running', 'published', 'yielded')
    group by b.dataset
),

ranked as (
    select
        p.dataset,
        p.dt,
        p.priority + d.priority as priority,
        case
            when d.newest_first then -extract(epoch from p.dirty_since)
            else extract(epoch from p.dirty_since)
        end as turn,
        coalesce(d.max_running, %(slots)s) - coalesce(a.running, 0) as dataset_slots,
        row_number() over (
            partition by p.dataset
            order by
                p.priority desc,
                case
                    when d.newest_first then -extract(epoch from p.dirty_since)
                    else extract(epoch from p.dirty_since)
                end,
                p.dt
        ) as place
    from quicksilver.partition as p
    inner join quicksilver.dataset as d
        on p.dataset = d.name and d.is_declared and d.paused_at is null
    left join active as a on p.dataset = a.dataset
    where
        p.state in ('waiting', 'pending')
        and p.due_at <= %(now)s
        and (%(only)s::jsonb is null or exists (
            select from jsonb_to_recordset(%(only)s::jsonb) as i (dataset text, dt date)
            where i.dataset = p.dataset and i.dt = p.dt
        ))
        and not exists (
            select from quicksilver.build as b
            where
                b.dataset = p.dataset and b.dt = p.dt
                and b.state in ('claimed', 'dispatched', 'running', 'published', 'yielded')
        )
),

chosen as (
    select p.dataset, p.dt
    from quicksilver.partition as p
    inner join ranked as r on p.dataset = r.dataset and p.dt = r.dt
    where r.place <= r.dataset_slots and p.state in ('waiting', 'pending')
    order by r.priority desc, r.turn, p.dataset, p.dt
    limit greatest(0, %(slots)s - (select coalesce(sum(a.running), 0) from active as a))
    for update of p skip locked
),

taken as (
    update quicksilver.partition as p set
        state = 'running',
        wait_reason = null,
        updated_at = %(now)s
    from chosen as c
    where p.dataset = c.dataset and p.dt = c.dt
    returning p.dataset, p.dt, p.generation
)

insert into quicksilver.build (dataset, dt, generation, owner, claimed_at, deadline_at)
select t.dataset, t.dt, t.generation, %(owner)s, %(now)s, %(deadline)s
from taken as t
returning id, dataset, dt, generation
