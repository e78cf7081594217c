-- Everything that the failed build was to bring to silver: each of its files, and what earlier
-- generations had left for it.
update quicksilver.event set reason = 'failed'
where
    dataset = %(dataset)s and dt = %(dt)s
    and reason = 'fired'
    and generation > %(built)s and generation <= %(generation)s
