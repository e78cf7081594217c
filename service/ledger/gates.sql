-- name: gate_members
select
    p.dataset,
    p.partition,
    p.dt,
    p.generation,
    p.built_generation,
    case
        -- Gone and built stands in silver as it was, or as nothing: either is complete.
        when p.gone_at is not null and p.state <> 'built' then 'gone'
        else quicksilver.shown_state(p.state, d.paused_at)
    end as state
from quicksilver.partition as p
left join quicksilver.dataset as d on p.dataset = d.name
where p.dataset = any(%(datasets)s) and p.generation > 0
order by p.dataset, p.partition


-- name: gate_runs
select distinct on (g.gate, g.set_key)
    g.gate, g.set_key, g.generation, g.opened_at, g.flow_run_id, g.fired_at
from quicksilver.gate_run as g
where g.fired_at is not null
order by g.gate, g.set_key, g.generation desc


-- name: mark_gate_fired
update quicksilver.gate_run set flow_run_id = %(flow_run_id)s, fired_at = %(now)s
where
    gate = %(gate)s and set_key = %(set_key)s and generation = %(generation)s
    and fired_at is null


-- name: open_gates
insert into quicksilver.gate_run (gate, set_key, generation, opened_at)
select i.gate, i.set_key, i.generation, %(now)s
from jsonb_to_recordset(%(items)s::jsonb) as i (gate text, set_key text, generation bigint)
order by i.gate, i.set_key, i.generation
on conflict (gate, set_key, generation) do nothing
returning gate, set_key


-- name: unfired_gates
select
    g.gate,
    g.set_key,
    g.generation,
    'gate/' || g.gate || '/' || g.set_key || ':' || g.generation::text || '@'
    || (select left(i.id::text, 8) from quicksilver.identity as i) as key
from quicksilver.gate_run as g
where g.fired_at is null
order by g.opened_at
