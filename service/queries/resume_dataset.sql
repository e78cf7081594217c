update quicksilver.dataset set paused_at = null, paused_by = null
where name = %(name)s and paused_at is not null
returning name
