insert into quicksilver.dispatcher (owner, started_at, seen_at)
values (%(owner)s, %(now)s, %(now)s)
on conflict (owner) do update set seen_at = excluded.seen_at
