update quicksilver.event set reason = 'failed'
where
    dataset = %(dataset)s and dt = %(dt)s
    and reason = 'fired' and generation = %(generation)s
