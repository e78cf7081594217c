-- name: warehouse_kind
-- Whether schema quicksilver is ours: its table `installation` says so; or an earlier version's, whose
-- fence and publication are there; or another tool's. The ledger may live in the same database.
select
    to_regclass('quicksilver.installation') is not null as is_ours,
    (
        select count(*) = 2
        from pg_class as c
        inner join pg_namespace as n on c.relnamespace = n.oid
        inner join pg_attribute as a on c.oid = a.attrelid
        where
            n.nspname = %(schema)s
            and (c.relname, a.attname) in (('fence', 'is_revoked'), ('publication', 'rows_rejected'))
    ) as is_earlier,
    exists (
        select from pg_class as c
        inner join pg_namespace as n on c.relnamespace = n.oid
        where n.nspname = %(schema)s and c.relkind in ('r', 'p', 'v', 'm', 'f')
    ) and to_regclass('quicksilver.migration') is null as is_taken


-- name: installation
-- Made once; `is_earlier`: an earlier version's warehouse was found, which kept no list of its tables.
insert into quicksilver.installation (is_earlier) values (%(is_earlier)s)
on conflict (is_only) do update set is_only = true
returning id


-- name: schema_mark
select
    obj_description(n.oid, 'pg_namespace') as mark,
    not exists (select from pg_class as c where c.relnamespace = n.oid)
    and not exists (select from pg_proc as p where p.pronamespace = n.oid) as is_empty
from pg_namespace as n
where n.nspname = %(schema)s


-- name: adopt_partitioned
-- Tables of an earlier version: cut by the list of `dt`, every partition in our schema of children.
insert into quicksilver.published_table (schema_name, table_name)
select n.nspname, c.relname
from pg_partitioned_table as p
inner join pg_class as c on p.partrelid = c.oid
inner join pg_namespace as n on c.relnamespace = n.oid
inner join pg_attribute as a on c.oid = a.attrelid and a.attnum = p.partattrs[0]
where
    p.partstrat = 'l'
    and p.partnatts = 1
    and a.attname = 'dt'
    and not c.relispartition
    and pg_has_role(c.relowner, 'member')
    and not exists (
        select from pg_inherits as i
        inner join pg_class as child on i.inhrelid = child.oid
        inner join pg_namespace as at on child.relnamespace = at.oid
        where i.inhparent = c.oid and at.nspname <> %(children)s
    )
on conflict do nothing


-- name: adopt_plain
insert into quicksilver.published_table (schema_name, table_name)
select n.nspname, c.relname
from pg_class as c
inner join pg_namespace as n on c.relnamespace = n.oid
inner join quicksilver.installation as i on i.is_earlier
where
    n.nspname = %(schema)s
    and c.relname = %(name)s
    and c.relkind = 'r'
    and %(columns)s::text[] = array(
        select a.attname::text from pg_attribute as a
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        order by a.attnum
    )
on conflict do nothing


-- name: foreign_tables
select n.nspname as schema_name, c.relname as table_name
from unnest(%(schemas)s::text[], %(names)s::text[]) as wanted (schema_name, table_name)
inner join pg_namespace as n on wanted.schema_name = n.nspname
inner join pg_class as c on n.oid = c.relnamespace and wanted.table_name = c.relname
where not exists (
    select from quicksilver.published_table as t
    where t.schema_name = n.nspname and t.table_name = c.relname
)
order by 1, 2


-- name: register_tables
insert into quicksilver.published_table (schema_name, table_name)
select * from unnest(%(schemas)s::text[], %(names)s::text[])
on conflict do nothing


-- name: adopt_seeds
insert into quicksilver.published_table (schema_name, table_name)
select wanted.schema_name, wanted.table_name
from unnest(%(schemas)s::text[], %(names)s::text[]) as wanted (schema_name, table_name)
inner join quicksilver.installation as i on i.is_earlier
where exists (select from quicksilver.seeded)
on conflict do nothing


-- name: loaded_seeds
select name from quicksilver.seed where version = %(version)s


-- name: note_seeds
insert into quicksilver.seed (name, version)
select name, %(version)s from unnest(%(names)s::text[]) as name
on conflict (name) do update set version = excluded.version, seeded_at = now()
