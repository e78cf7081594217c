insert into quicksilver.action (at, actor, action, subject)
values (%(now)s, %(actor)s, %(action)s, %(subject)s)
