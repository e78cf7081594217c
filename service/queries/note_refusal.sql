insert into quicksilver.refusal as r (lane, at)
values (%(lane)s, %(at)s)
on conflict (lane) do update set at = greatest(r.at, excluded.at)
