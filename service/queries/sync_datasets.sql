insert into quicksilver.dataset (name, newest_first, max_running, priority, is_declared)
select i.name, i.newest_first, i.max_running, i.priority, true
from jsonb_to_recordset(%(items)s::jsonb) as i (
    name text, newest_first boolean, max_running integer, priority integer
)
on conflict (name) do update set
    newest_first = excluded.newest_first,
    max_running = excluded.max_running,
    priority = excluded.priority,
    is_declared = true
