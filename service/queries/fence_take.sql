with before as (
    select holder, worker from quicksilver.fence where dataset = %(dataset)s and dt = %(dt)s
)

insert into quicksilver.fence as fence (dataset, dt, holder, worker)
values (%(dataset)s, %(dt)s, %(build)s, %(worker)s)
on conflict (dataset, dt) do update set
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
