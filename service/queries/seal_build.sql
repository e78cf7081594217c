-- From here on the build has its key, and its manifest says what it reads.
update quicksilver.build as b set
    generation = %(generation)s,
    attempt = n.attempt,
    idempotency_key = %(dataset)s || '/' || %(dt)s::date::text || ':'
    || %(generation)s::bigint::text || ':' || n.attempt::text,
    manifest = %(manifest)s::jsonb,
    put_at = %(put_at)s,
    received_at = %(received_at)s,
    traceparent = %(traceparent)s
from (
    select coalesce(max(x.attempt), 0) + 1 as attempt
    from quicksilver.build as x
    where
        x.dataset = %(dataset)s and x.dt = %(dt)s and x.generation = %(generation)s
        and x.id <> %(build)s
) as n
where b.id = %(build)s and b.state = 'claimed' and b.owner = %(owner)s
returning b.attempt, b.idempotency_key
