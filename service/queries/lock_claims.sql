-- Claims are short and counted: one at a time over all replicas keeps the limits exact.
select pg_advisory_xact_lock(%(lock)s)
