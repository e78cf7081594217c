-- name: warehouse_schema
create schema if not exists bronze;
create schema if not exists silver;
create schema if not exists gold;
-- The children of the partitioned tables: analysts see the parents only.
create schema if not exists partitions;
-- Scratch tables of running builds, named after the build.
create schema if not exists build;
create schema if not exists quicksilver;

-- Who may publish a partition. The row is also its lock: whoever has it FOR UPDATE decides alone.
create table if not exists quicksilver.fence (
    dataset text not null,
    dt date not null,
    holder bigint not null,
    is_revoked boolean not null default false,
    published_build bigint,
    generation bigint,
    updated_at timestamptz not null default now(),
    primary key (dataset, dt)
);

-- The build under whose name the holder's sessions work: the first of those that share its run. Asked
-- first, because an alter waits for everybody who publishes even when it has nothing to do.
do $$
begin
    if not exists (
        select from pg_attribute as a
        where a.attrelid = 'quicksilver.fence'::regclass and a.attname = 'worker'
    ) then
        alter table quicksilver.fence add column worker bigint;
    end if;
end
$$;

-- What every build published: the answer for a run that died before it could say so, and the
-- history that a partition's volume is compared with.
create table if not exists quicksilver.publication (
    build_id bigint primary key,
    dataset text not null,
    dt date not null,
    generation bigint not null,
    rows_bronze bigint not null,
    rows_silver bigint not null,
    rows_rejected bigint not null,
    loaded_at timestamptz,
    published_at timestamptz not null default clock_timestamp(),
    details jsonb not null default '{}'
);

create index if not exists publication_partition on quicksilver.publication (dataset, dt, build_id);

-- Which version of dbt's seeds is loaded; one row.
create table if not exists quicksilver.seeded (
    is_only boolean primary key default true check (is_only),
    version text not null,
    seeded_at timestamptz not null default now()
);
