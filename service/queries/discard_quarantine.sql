delete from quicksilver.quarantine
where id = %(id)s
returning id
