select a.id, a.name, a.resource, a.payload, a.at
from quicksilver.announcement as a
where a.sent_at is null
order by a.id
limit %(limit)s
