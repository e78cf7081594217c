select count(*) as alive from quicksilver.dispatcher
where seen_at > %(alive_since)s
