-- A listing saw what no event told.
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
where dataset = %(dataset)s and dt = %(dt)s
returning generation
