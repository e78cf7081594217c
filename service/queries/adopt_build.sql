-- A claim whose owner was not heard of for a lease: the key makes a second create harmless.
update quicksilver.build as b set
    owner = %(owner)s,
    deadline_at = %(deadline)s
where
    b.state = 'claimed' and b.owner <> %(owner)s
    and b.deadline_at < %(now)s
    and not exists (
        select from quicksilver.dispatcher as d
        where d.owner = b.owner and d.seen_at > %(alive_since)s
    )
returning b.id
