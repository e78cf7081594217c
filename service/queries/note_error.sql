update quicksilver.build set error = %(error)s
where id = %(build)s and state = 'running'
returning id
