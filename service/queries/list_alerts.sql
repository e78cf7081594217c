select a.id, a.kind, a.subject, a.text, a.raised_at, a.cleared_at
from quicksilver.alert as a
where not %(is_open)s or a.cleared_at is null
order by a.id desc
limit %(limit)s
