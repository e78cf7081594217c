with fence as (
    update quicksilver.fence set
        published_build = %(build)s,
        generation = %(generation)s,
        updated_at = now()
    where dataset = %(dataset)s and dt = %(dt)s
)

insert into quicksilver.publication (
    build_id, dataset, dt, generation, rows_bronze, rows_silver, rows_rejected, loaded_at, details
)
values (
    %(build)s, %(dataset)s, %(dt)s, %(generation)s,
    %(rows_bronze)s, %(rows_silver)s, %(rows_rejected)s, %(loaded_at)s, %(details)s::jsonb
)
