select d.name, d.is_declared, d.paused_at, d.paused_by, d.newest_first, d.max_running, d.priority
from quicksilver.dataset as d
order by d.name
