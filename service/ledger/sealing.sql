-- name: forget_objects
delete from quicksilver.object
where dataset = %(dataset)s and bucket = %(bucket)s and key = any(%(keys)s)


-- name: lock_claim
select b.id
from quicksilver.build as b
where b.id = %(build)s and b.state = 'claimed' and b.owner = %(owner)s
for update


-- name: partition_objects
select o.key, o.etag, o.version_id, o.size, o.last_modified
from quicksilver.object as o
where o.dataset = %(dataset)s and o.partition = %(partition)s and o.bucket = %(bucket)s
order by o.key


-- name: raise_partition
-- A listing saw what no event reported.
update quicksilver.partition set
    generation = generation + 1,
    attempts = 0,
    error = null,
    gone_at = null,
    dirty_since = coalesce(dirty_since, %(now)s),
    changed_at = %(now)s,
    put_at = %(put_at)s,
    received_at = %(now)s,
    updated_at = %(now)s
where dataset = %(dataset)s and partition = %(partition)s
returning generation


-- name: seal_build
-- From here on the build has its key, and its manifest says what it reads.
update quicksilver.build as b set
    generation = %(generation)s,
    attempt = n.attempt,
    idempotency_key = %(dataset)s || '/' || %(partition)s || ':'
    || %(generation)s::bigint::text || ':' || n.attempt::text
    -- Another ledger beside the same Prefect, or this one restored, has other keys.
    || '@' || (select left(i.id::text, 8) from quicksilver.identity as i),
    manifest = %(manifest)s::jsonb,
    put_at = %(put_at)s,
    received_at = %(received_at)s,
    traceparent = %(traceparent)s
from (
    select coalesce(max(x.attempt), 0) + 1 as attempt
    from quicksilver.build as x
    where
        x.dataset = %(dataset)s and x.partition = %(partition)s and x.generation = %(generation)s
        and x.id <> %(build)s
) as n
where b.id = %(build)s and b.state = 'claimed' and b.owner = %(owner)s
returning b.attempt, b.idempotency_key


-- name: settle_unchanged
-- What bronze holds is what was built last: the generation is reached without a run.
update quicksilver.partition set
    built_generation = generation,
    state = 'built',
    wait_reason = null,
    dirty_since = null,
    is_forced = false,
    updated_at = %(now)s
where dataset = %(dataset)s and partition = %(partition)s and state = 'running'
returning generation
