-- Silver stands at their generation, or past it: what had failed has been made good.
update quicksilver.event set reason = 'fired'
where
    dataset = %(dataset)s and dt = %(dt)s
    and reason = 'failed' and generation <= %(generation)s
