select
    b.id, b.generation, b.attempt, b.state, b.idempotency_key, b.owner, b.flow_run_id,
    b.manifest, b.put_at, b.received_at, b.claimed_at, b.dispatched_at, b.started_at,
    b.loaded_at, b.published_at, b.finished_at, b.error, b.rows_bronze, b.rows_silver,
    b.rows_rejected, b.details,
    -- How many builds its run has, itself among them.
    greatest(1, (select count(*) from quicksilver.build as x where x.run_key = b.run_key)) as run_builds
from quicksilver.build as b
where b.dataset = %(dataset)s and b.dt = %(dt)s
order by b.id desc
limit %(limit)s
