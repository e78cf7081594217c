with before as (
    select holder from quicksilver.fence where dataset = %(dataset)s and dt = %(dt)s
)

insert into quicksilver.fence as fence (dataset, dt, holder)
values (%(dataset)s, %(dt)s, %(build)s)
on conflict (dataset, dt) do update set
    holder = excluded.holder,
    is_revoked = false,
    updated_at = now()
-- Strictly greater: build ids only rise, and a build that was given up must not come back.
where fence.holder < excluded.holder
returning holder, (select before.holder from before) as previous
