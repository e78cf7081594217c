select distinct on (g.gate, g.set_key)
    g.gate, g.set_key, g.generation, g.opened_at, g.flow_run_id, g.fired_at
from quicksilver.gate_run as g
where g.fired_at is not null
order by g.gate, g.set_key, g.generation desc
