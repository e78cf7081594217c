-- A running build is held by an advisory lock of the flow's own session.
select
    b.id,
    b.dataset,
    b.dt,
    b.generation,
    b.attempt,
    b.state,
    b.owner,
    b.idempotency_key,
    b.flow_run_id,
    b.claimed_at,
    b.started_at,
    b.deadline_at,
    b.abandoned_at,
    b.cancel_requested_at,
    b.error,
    exists (
        select from pg_locks as l
        where
            l.locktype = 'advisory' and l.granted and l.objsubid = 2
            and l.classid = %(space)s::int::oid
            and l.objid = (b.id %% 2147483648)::int::oid
            and l.database = (select d.oid from pg_database as d where d.datname = current_database())
    ) as is_held
from quicksilver.build as b
where b.state in ('claimed', 'dispatched', 'running', 'published', 'yielded')
order by b.id
