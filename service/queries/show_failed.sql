-- A newer generation starts afresh; the same one waits its backoff or has used its attempts up.
update quicksilver.partition set
    state = case
        when generation > %(generation)s and wait_reason is not null then 'waiting'
        when generation > %(generation)s then 'pending'
        else %(state)s
    end,
    attempts = case
        when generation > %(generation)s then 0 else attempts + %(counted)s
    end,
    due_at = case when generation > %(generation)s then due_at else %(due_at)s end,
    error = case when generation > %(generation)s then null else %(error)s end,
    updated_at = %(now)s
where dataset = %(dataset)s and dt = %(dt)s and state = 'running'
returning state
