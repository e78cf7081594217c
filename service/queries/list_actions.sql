select a.at, a.actor, a.action, a.subject
from quicksilver.action as a
where %(subject)s::text is null or a.subject = %(subject)s
order by a.id desc
limit %(limit)s
