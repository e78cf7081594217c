update quicksilver.partition set
    built_generation = greatest(built_generation, %(generation)s),
    built_manifest = %(manifest)s::jsonb,
    state = case
        when generation <= %(generation)s then 'built'
        when wait_reason is not null then 'waiting'
        else 'pending'
    end,
    wait_reason = case when generation > %(generation)s then wait_reason end,
    dirty_since = case when generation > %(generation)s then received_at end,
    is_forced = is_forced and generation > %(generation)s,
    attempts = 0,
    error = null,
    loaded_at = %(loaded_at)s,
    built_at = %(now)s,
    rows_bronze = %(rows_bronze)s,
    rows_silver = %(rows_silver)s,
    rows_rejected = %(rows_rejected)s,
    updated_at = %(now)s
where dataset = %(dataset)s and dt = %(dt)s
returning state, generation
