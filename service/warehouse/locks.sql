-- name: lock_holders
-- Sessions that block a session; one that is idle in its transaction shows its last statement.
select
    pid,
    usename,
    application_name,
    state,
    query_start at time zone 'UTC' as query_start,
    left(regexp_replace(query, '\s+', ' ', 'g'), 120) as query
from pg_stat_activity
where pid = any(pg_blocking_pids(%(pid)s))
order by pid
