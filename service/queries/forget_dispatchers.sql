delete from quicksilver.dispatcher
where seen_at < %(before)s
