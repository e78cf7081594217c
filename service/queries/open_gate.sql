insert into quicksilver.gate_run (gate, set_key, generation, opened_at)
values (%(gate)s, %(set_key)s, %(generation)s, %(now)s)
on conflict (gate, set_key, generation) do nothing
