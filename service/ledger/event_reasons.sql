-- Every statement that changes an event's reason.


-- name: events_overtaken
update quicksilver.event as e set reason = 'superseded'
from jsonb_to_recordset(%(items)s::jsonb) as i (dataset text, partition text, generation bigint)
where
    e.dataset = i.dataset and e.partition = i.partition
    and quicksilver.is_open(e.reason)
    and e.generation <= i.generation


-- name: decide_events
-- The event whose version the manifest holds has fired; older versions were overtaken.
update quicksilver.event as e set
    reason = case when o.key is not null or e.key = '' then 'fired' else 'superseded' end
from quicksilver.event as x
left join quicksilver.object as o
    on
        x.dataset = o.dataset and x.bucket = o.bucket and x.key = o.key
        and (x.etag is null or x.etag = o.etag)
where
    e.id = x.id
    and x.dataset = %(dataset)s and x.partition = %(partition)s
    and quicksilver.is_open(x.reason)
    and x.generation <= %(generation)s


-- name: events_failed
-- Everything that the failed build was to bring to silver: each of its files, and what earlier
-- generations had left for it.
update quicksilver.event set reason = 'failed'
where
    dataset = %(dataset)s and partition = %(partition)s
    and reason = 'fired'
    and generation > %(built)s and generation <= %(generation)s


-- name: events_recovered
-- Silver is at their generation, or past it; that they failed stays on record.
update quicksilver.event set
    outcome = 'made good by build ' || %(build)s::bigint || ', generation ' || %(generation)s::bigint
where
    dataset = %(dataset)s and partition = %(partition)s
    and reason = 'failed' and outcome is null and generation <= %(generation)s


-- name: events_unchanged
update quicksilver.event set reason = 'unchanged'
where
    dataset = %(dataset)s and partition = %(partition)s
    and quicksilver.is_open(reason)
    and generation <= %(generation)s
