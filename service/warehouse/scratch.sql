-- name: scratch_named
select c.relname as name
from unnest(%(names)s::text[]) as wanted (name)
inner join pg_namespace as n on n.nspname = %(schema)s
inner join pg_class as c on n.oid = c.relnamespace and wanted.name = c.relname
where c.relkind in ('r', 'p') and obj_description(c.oid, 'pg_class') like %(marked)s


-- name: scratch_of_the_dead
select c.relname as name
from pg_class as c
inner join pg_namespace as n on c.relnamespace = n.oid
where
    n.nspname = %(schema)s
    and c.relkind in ('r', 'p')
    and obj_description(c.oid, 'pg_class') like %(marked)s
    and not exists (
        select from pg_stat_activity as s
        where
            -- Builds of another warehouse on this server have the same ids.
            s.datname = current_database()
            and s.application_name
            = %(application)s || substr(obj_description(c.oid, 'pg_class'), length(%(prefix)s) + 1)
    )
