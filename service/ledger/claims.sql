-- name: adopt_build
-- A claim whose owner was not heard of for a lease: the key makes a second create harmless.
update quicksilver.build as b set
    owner = %(owner)s,
    deadline_at = %(deadline)s
where
    b.state = 'claimed' and b.owner <> %(owner)s
    and b.deadline_at < %(now)s
    and not exists (
        select from quicksilver.dispatcher as d
        where d.owner = b.owner and d.seen_at > %(alive_since)s
    )
returning b.id


-- name: claim
-- The oldest due partitions, as many as there are free slots, each with a build of its own. A slot
-- is a run: where a dataset's backlog is long, neighbours in its order share one. What failed before
-- runs alone. The caller holds the claim lock, so the counts below are the counts.
with active as (
    select
        b.dataset,
        count(distinct coalesce(b.run_key, b.id::text)) as running,
        bool_or(b.run_key is not null) as has_batches
    from quicksilver.build as b
    where b.state in ('claimed', 'dispatched', 'running', 'published', 'yielded')
    group by b.dataset
),

due as (
    select
        p.dataset,
        p.partition,
        p.priority + d.priority as priority,
        case
            when d.newest_first then -extract(epoch from p.dirty_since)
            else extract(epoch from p.dirty_since)
        end as turn,
        coalesce(d.max_running, %(slots)s) as dataset_slots,
        coalesce(a.running, 0) as running,
        coalesce(a.has_batches, false) as has_batches,
        i.at_most,
        i.at_most is not null and p.attempts = 0 as may_share
    from quicksilver.partition as p
    inner join quicksilver.dataset as d
        on p.dataset = d.name and d.is_declared and d.paused_at is null
    left join active as a on p.dataset = a.dataset
    left join jsonb_to_recordset(%(batches)s::jsonb) as i (dataset text, at_most integer)
        on p.dataset = i.dataset
    where
        p.state in ('waiting', 'pending')
        and p.due_at <= %(now)s
        and (%(only)s::jsonb is null or exists (
            select from jsonb_to_recordset(%(only)s::jsonb) as o (dataset text, partition text)
            where o.dataset = p.dataset and o.partition = p.partition
        ))
        and not exists (
            select from quicksilver.build as b
            where
                b.dataset = p.dataset and b.partition = p.partition
                and b.state in ('claimed', 'dispatched', 'running', 'published', 'yielded')
        )
),

-- A backlog that is being worked off in batches is so to its end; its slots share it evenly.
placed as (
    select
        d.*,
        row_number() over (
            partition by d.dataset, d.may_share order by d.priority desc, d.turn, d.partition
        ) as place,
        case
            when
                d.may_share
                and (d.has_batches or count(*) over (partition by d.dataset, d.may_share) > %(backlog)s)
                then least(
                    d.at_most,
                    -- Less than ten a run saves too little of what a run costs.
                    greatest(
                        10,
                        ceil(
                            count(*) over (partition by d.dataset, d.may_share)::numeric
                            / greatest(d.dataset_slots, 1)
                        )
                    )
                )::integer
            else 1
        end as members
    from due as d
),

leaders as (
    select
        p.*,
        row_number() over (partition by p.dataset order by p.priority desc, p.turn, p.partition) as run
    from placed as p
    where (p.place - 1) %% p.members = 0
),

runs as (
    select l.dataset, l.partition, l.may_share, l.place, l.members
    from leaders as l
    where l.run <= l.dataset_slots - l.running
    order by l.priority desc, l.turn, l.dataset, l.partition
    limit greatest(0, %(slots)s - (select coalesce(sum(a.running), 0) from active as a))
),

chosen as (
    select p.dataset, p.partition, r.partition as leader, m.priority, m.turn
    from quicksilver.partition as p
    inner join placed as m on p.dataset = m.dataset and p.partition = m.partition
    inner join runs as r
        on
            m.dataset = r.dataset and m.may_share = r.may_share
            and m.place >= r.place and m.place < r.place + r.members
    where p.state in ('waiting', 'pending')
    for update of p skip locked
),

taken as (
    update quicksilver.partition as p set
        state = 'running',
        wait_reason = null,
        updated_at = %(now)s
    from chosen as c
    where p.dataset = c.dataset and p.partition = c.partition
    returning p.dataset, p.partition, p.generation, c.leader, c.priority, c.turn
)

insert into quicksilver.build (dataset, partition, generation, owner, claimed_at, deadline_at, run_key)
select
    t.dataset,
    t.partition,
    t.generation,
    %(owner)s,
    %(now)s,
    %(deadline)s,
    case
        when count(*) over (partition by t.dataset, t.leader) > 1
            then t.dataset || '/' || t.leader || '+:' || %(batch)s
    end
from taken as t
order by t.priority desc, t.turn, t.dataset, t.partition
returning id, dataset, partition, generation, run_key


-- name: lock_claims
-- Claims are short and counted: one at a time over all replicas keeps the limits exact.
select pg_advisory_xact_lock(%(lock)s)


-- name: mark_dispatched
-- The flow may have begun before this mark: then only the run's id is still to be kept.
update quicksilver.build set
    state = case when state = 'claimed' then 'dispatched' else state end,
    flow_run_id = coalesce(flow_run_id, %(flow_run_id)s),
    dispatched_at = %(now)s,
    deadline_at = case when state = 'claimed' then %(deadline)s else deadline_at end
where
    id = %(build)s and owner = %(owner)s
    and state in ('claimed', 'running', 'published', 'yielded')
returning state, generation


-- name: own_claims
select
    b.id, b.dataset, b.partition, b.generation, b.attempt, b.idempotency_key, b.claimed_at, b.run_key
from quicksilver.build as b
where b.state = 'claimed' and b.owner = %(owner)s
order by b.id


-- name: release_build
-- A claim that never had a key leaves no trace: nobody was told of it.
delete from quicksilver.build
where id = %(build)s and state = 'claimed' and owner = %(owner)s and idempotency_key is null
returning id


-- name: release_partition
update quicksilver.partition set
    state = %(state)s,
    wait_reason = %(wait_reason)s,
    due_at = %(due_at)s,
    error = coalesce(%(error)s, error),
    updated_at = %(now)s
where dataset = %(dataset)s and partition = %(partition)s and state = 'running'
returning dataset


-- name: show_dispatched
update quicksilver.partition set
    flow_run_id = %(flow_run_id)s,
    dispatched_at = %(now)s,
    started_at = case when started_at >= %(claimed_at)s then started_at end,
    loaded_at = null,
    built_at = case when built_at >= %(claimed_at)s then built_at end,
    updated_at = %(now)s
where dataset = %(dataset)s and partition = %(partition)s


-- name: spend_build
-- A sealed claim may have reached Prefect, whose answer was lost: its key is spent, not freed.
update quicksilver.build set
    state = 'superseded',
    finished_at = %(now)s,
    error = %(error)s
where
    id = %(build)s and state = 'claimed' and owner = %(owner)s
    and idempotency_key is not null
returning id
