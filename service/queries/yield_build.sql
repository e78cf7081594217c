update quicksilver.build set
    state = 'yielded',
    error = %(error)s
where id = %(build)s and state = 'running'
returning id
