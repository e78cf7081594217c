-- Raised already: nothing is added, whoever saw it second.
insert into quicksilver.alert (kind, subject, text, raised_at)
values (%(kind)s, %(subject)s, %(text)s, %(now)s)
on conflict (kind, subject) where cleared_at is null do nothing
