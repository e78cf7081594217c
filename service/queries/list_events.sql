select
    e.id, e.event_name, e.bucket, e.key, e.dataset, e.dt, e.generation, e.etag, e.version_id,
    e.size, e.sequencer, e.event_at, e.received_at, e.fast_at, e.durable_at, e.deliveries,
    e.source, e.reason
from quicksilver.event as e
-- A duplicate is no event of its own: it adds to the deliveries of the first.
where
    (%(dataset)s::text is null or e.dataset = %(dataset)s)
    and (%(dt)s::date is null or e.dt = %(dt)s)
    and (%(key)s::text is null or e.key = %(key)s)
    and (
        %(reason)s::text is null
        or e.reason = %(reason)s or e.reason like %(reason)s || ':%%'
        or (%(reason)s = 'duplicate' and e.deliveries > 1)
    )
    and (%(before)s::bigint is null or e.id < %(before)s)
order by e.id desc
limit %(limit)s
