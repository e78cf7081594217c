insert into quicksilver.fence as fence (dataset, dt, holder, is_revoked)
values (%(dataset)s, %(dt)s, %(build)s, true)
on conflict (dataset, dt) do update set
    holder = excluded.holder,
    -- Another holder's sessions are not this build's.
    worker = case when fence.holder = excluded.holder then fence.worker end,
    is_revoked = true,
    updated_at = now()
where fence.holder <= excluded.holder
returning worker
