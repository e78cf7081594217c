select p.traceparent
from quicksilver.partition as p
where p.dataset = %(dataset)s and p.dt = %(dt)s
