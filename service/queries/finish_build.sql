-- Named by the state it expects: a build that moved on meanwhile is looked at again.
update quicksilver.build set
    state = %(state)s,
    finished_at = %(now)s,
    error = coalesce(%(error)s, error)
where id = %(build)s and state = %(expected)s
returning dataset, dt, generation, error
