insert into quicksilver.quarantine as q (
    digest, reason, body, lane, source, first_seen, last_seen
)
values (%(digest)s, %(reason)s, %(body)s, %(lane)s, %(source)s, %(now)s, %(now)s)
on conflict (digest) do update set
    count = q.count + 1,
    last_seen = excluded.last_seen,
    reason = excluded.reason
returning id, count
