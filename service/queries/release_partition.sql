update quicksilver.partition set
    state = %(state)s,
    wait_reason = %(wait_reason)s,
    due_at = %(due_at)s,
    error = coalesce(%(error)s, error),
    updated_at = %(now)s
where dataset = %(dataset)s and dt = %(dt)s and state = 'running'
returning dataset
