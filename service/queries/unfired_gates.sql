select g.gate, g.set_key, g.generation
from quicksilver.gate_run as g
where g.fired_at is null
order by g.opened_at
