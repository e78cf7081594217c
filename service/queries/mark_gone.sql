-- What silver holds of it stays, unless the dataset says otherwise.
update quicksilver.partition set
    gone_at = %(now)s,
    state = case when state in ('waiting', 'pending') then 'built' else state end,
    wait_reason = null,
    updated_at = %(now)s
where dataset = %(dataset)s and dt = %(dt)s and gone_at is null
