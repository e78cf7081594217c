update quicksilver.dataset set paused_at = %(now)s, paused_by = %(actor)s
where name = %(name)s and paused_at is null
returning name
