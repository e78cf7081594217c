update quicksilver.announcement set sent_at = %(now)s
where id = any(%(ids)s) and sent_at is null
