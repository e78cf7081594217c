select pg_terminate_backend(pid)
from pg_stat_activity
where application_name = any(%(applications)s) and pid <> pg_backend_pid()
