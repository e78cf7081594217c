-- name: holdings
with told as (
    select
        t.partition,
        t.schema_name || '.' || t.table_name as name,
        -- An empty file is an empty table; a table that is not there has no file.
        t.has_rows and coalesce(pg_relation_size(c.oid), 0) = 0 as is_missing
    from quicksilver.table_partition as t
    left join pg_namespace as n on n.nspname = %(children)s
    left join pg_class as c on n.oid = c.relnamespace and t.child = c.relname and c.relispartition
    where t.dataset = %(dataset)s
)

select
    f.partition,
    f.dt,
    f.published_build as build_id,
    f.generation,
    p.rows_bronze,
    p.rows_silver,
    p.rows_rejected,
    count(told.name) > 0 as is_told,
    coalesce(array_agg(told.name order by told.name) filter (where told.is_missing), '{}') as missing
from quicksilver.fence as f
left join quicksilver.publication as p on f.published_build = p.build_id
left join told on f.partition = told.partition
where f.dataset = %(dataset)s and f.published_build is not null
group by f.partition, f.dt, f.published_build, f.generation, p.rows_bronze, p.rows_silver, p.rows_rejected
order by f.partition


-- name: filled_children
select c.relname as name
from unnest(%(names)s::text[]) as wanted (name)
inner join pg_namespace as n on n.nspname = %(children)s
inner join pg_class as c on n.oid = c.relnamespace and wanted.name = c.relname
where pg_relation_size(c.oid) > 0


-- name: tables_of
select distinct schema_name, table_name
from quicksilver.table_partition
where dataset = %(dataset)s
