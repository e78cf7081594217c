update quicksilver.build set
    state = 'published',
    loaded_at = %(loaded_at)s,
    published_at = %(now)s,
    rows_bronze = %(rows_bronze)s,
    rows_silver = %(rows_silver)s,
    rows_rejected = %(rows_rejected)s,
    details = %(details)s::jsonb,
    error = null
where id = %(build)s and state = 'running'
returning dataset, dt, generation, manifest
