-- Held by the session, let go by its end however it ends: the sign of life of a build.
select pg_try_advisory_lock(%(space)s, %(build)s)
