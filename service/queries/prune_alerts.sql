delete from quicksilver.alert where cleared_at < %(before)s
