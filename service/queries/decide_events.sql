-- The event whose version the manifest holds has fired; older versions were overtaken.
update quicksilver.event as e set
    reason = case when o.key is not null or e.key = '' then 'fired' else 'superseded' end
from quicksilver.event as x
left join quicksilver.object as o
    on x.bucket = o.bucket and x.key = o.key and (x.etag is null or x.etag = o.etag)
where
    e.id = x.id
    and x.dataset = %(dataset)s and x.dt = %(dt)s
    and x.reason in ('settling', 'paused')
    and x.generation <= %(generation)s
