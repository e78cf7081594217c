update quicksilver.build set
    cancel_requested_at = %(now)s,
    deadline_at = %(deadline)s,
    error = coalesce(error, %(error)s)
where id = %(build)s and state = %(expected)s
returning id
