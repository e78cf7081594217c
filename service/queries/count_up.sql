insert into quicksilver.counter as c (name, value)
values (%(name)s, %(by)s)
on conflict (name) do update set value = c.value + excluded.value
