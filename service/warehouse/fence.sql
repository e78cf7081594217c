-- name: fence_lock
select holder, is_revoked, published_build
from quicksilver.fence
where dataset = %(dataset)s and partition = %(partition)s
for update


-- name: fence_newest
select coalesce(max(f.holder), 0) as newest
from quicksilver.fence as f


-- name: fence_published
-- What stands in silver keeps its publication; what it took the place of goes after the retention,
-- a few with every publication.
with before as (
    select published_build
    from quicksilver.fence
    where dataset = %(dataset)s and partition = %(partition)s
),

superseded as (
    update quicksilver.publication set superseded_at = now()
    where build_id = (select b.published_build from before as b)
),

pruned as (
    delete from quicksilver.publication
    where build_id in (
        select p.build_id
        from quicksilver.publication as p
        where p.superseded_at < now() - make_interval(days => %(retention_days)s)
        limit 100
        for update skip locked
    )
),

fence as (
    update quicksilver.fence set
        published_build = %(build)s,
        generation = %(generation)s,
        updated_at = now()
    where dataset = %(dataset)s and partition = %(partition)s
)

insert into quicksilver.publication (
    build_id, dataset, partition, dt, generation,
    rows_bronze, rows_silver, rows_rejected, loaded_at, details
)
values (
    %(build)s, %(dataset)s, %(partition)s, %(dt)s, %(generation)s,
    %(rows_bronze)s, %(rows_silver)s, %(rows_rejected)s, %(loaded_at)s, %(details)s::jsonb
)


-- name: fence_revoke
insert into quicksilver.fence as fence (dataset, partition, dt, holder, is_revoked)
values (%(dataset)s, %(partition)s, %(dt)s, %(build)s, true)
on conflict (dataset, partition) do update set
    holder = excluded.holder,
    -- Another holder's sessions are not this build's.
    worker = case when fence.holder = excluded.holder then fence.worker end,
    is_revoked = true,
    updated_at = now()
where fence.holder <= excluded.holder


-- name: fence_worker
-- Read without a lock, so it waits for no transaction.
select worker
from quicksilver.fence
where dataset = %(dataset)s and partition = %(partition)s and holder = %(build)s


-- name: fence_take
with before as (
    select holder, worker
    from quicksilver.fence
    where dataset = %(dataset)s and partition = %(partition)s
)

insert into quicksilver.fence as fence (dataset, partition, dt, holder, worker)
values (%(dataset)s, %(partition)s, %(dt)s, %(build)s, %(worker)s)
on conflict (dataset, partition) do update set
    holder = excluded.holder,
    worker = excluded.worker,
    is_revoked = false,
    updated_at = now()
-- Strictly greater: build ids only rise, and a build that was given up must not come back.
where fence.holder < excluded.holder
returning
    holder,
    (select before.holder from before) as previous,
    (select before.worker from before) as previous_worker


-- name: end_sessions
select pg_terminate_backend(pid)
from pg_stat_activity
where
    application_name = any(%(applications)s)
    -- Builds of another warehouse on this server have the same ids.
    and datname = current_database()
    and pid <> pg_backend_pid()


-- name: publication_of
select rows_bronze, rows_silver, rows_rejected, loaded_at, details
from quicksilver.publication
where build_id = %(build)s and dataset = %(dataset)s and partition = %(partition)s


-- name: publication_history
-- The newest publication of each of a dataset's latest partitions, but the one that is built.
select distinct on (partition) partition, rows_bronze, rows_rejected
from quicksilver.publication
where dataset = %(dataset)s and partition <> %(partition)s
order by partition desc, build_id desc
limit 24
