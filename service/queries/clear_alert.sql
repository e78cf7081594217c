update quicksilver.alert set cleared_at = %(now)s
where kind = %(kind)s and subject = %(subject)s and cleared_at is null
