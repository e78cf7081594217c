-- name: table_versions
select schema_name, table_name, partition, build_id
from quicksilver.table_partition
where partition = any(%(partitions)s)


-- name: table_fence_take
-- In the order of the arrays, which is one everywhere; holds the rows until the publish is committed.
insert into quicksilver.table_partition as t (
    schema_name, table_name, partition, child, dataset, build_id
)
select wanted.schema_name, wanted.table_name, %(partition)s, wanted.child, %(dataset)s, %(build)s
from unnest(%(schemas)s::text[], %(names)s::text[], %(children)s::text[])
    with ordinality as wanted (schema_name, table_name, child, place)
order by wanted.place
on conflict (schema_name, table_name, partition) do update set
    child = excluded.child,
    dataset = excluded.dataset,
    build_id = excluded.build_id,
    published_at = now()
