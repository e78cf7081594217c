-- Statements that several parts of the ledger share.


-- name: lock_partition
select
    p.generation,
    p.built_generation,
    p.state,
    p.is_forced,
    p.built_manifest,
    p.dirty_since,
    p.changed_at,
    p.put_at,
    p.received_at,
    p.attempts
from quicksilver.partition as p
where p.dataset = %(dataset)s and p.partition = %(partition)s
for update


-- name: wake
select pg_notify('quicksilver', %(payload)s)


-- name: wake_workers
-- Prefect has a new run: a worker of the type quicksilver asks for it now, and not at its next poll.
select pg_notify('quicksilver_runs', '')


-- name: hold_build
-- Held by the session, let go by its end however it ends: the sign of life of a build.
select pg_try_advisory_lock(%(space)s, %(build)s)
