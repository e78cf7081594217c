update quicksilver.event set reason = 'unchanged'
where
    dataset = %(dataset)s and dt = %(dt)s
    and reason in ('settling', 'paused')
    and generation <= %(generation)s
