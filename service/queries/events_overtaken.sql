-- The objects that these events told of are no longer there to be built.
update quicksilver.event set reason = 'superseded'
where
    dataset = %(dataset)s and dt = %(dt)s
    and reason in ('settling', 'paused')
    and generation <= %(generation)s
