update quicksilver.build set abandoned_at = %(at)s
where id = %(build)s and state in ('running', 'published', 'yielded')
returning id
