delete from quicksilver.announcement
where sent_at < %(before)s
