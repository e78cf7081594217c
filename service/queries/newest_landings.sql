select p.dataset, max(p.changed_at) as landed_at
from quicksilver.partition as p
group by p.dataset
