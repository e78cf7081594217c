delete from quicksilver.dispatcher
where owner = %(owner)s
