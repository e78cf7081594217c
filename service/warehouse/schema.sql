-- name: warehouse_schema
create schema if not exists bronze;
create schema if not exists silver;
create schema if not exists gold;
create schema if not exists quicksilver;

-- The build that may publish a partition. The row is also its lock: the session that has it FOR UPDATE
-- decides alone.
create table if not exists quicksilver.fence (
    dataset text not null,
    partition text not null,
    -- The first day of the partition's time, if it has any.
    dt date,
    holder bigint not null,
    is_revoked boolean not null default false,
    published_build bigint,
    generation bigint,
    updated_at timestamptz not null default now(),
    primary key (dataset, partition)
);

-- The build under whose name the holder's sessions work: the first of those that share its run. Asked
-- first, because an alter waits for every publishing session even when it has nothing to do.
do $$
begin
    if not exists (
        select from pg_attribute as a
        where a.attrelid = 'quicksilver.fence'::regclass and a.attname = 'worker'
    ) then
        alter table quicksilver.fence add column worker bigint;
    end if;
    -- Up to 0.2.0 a partition was a day.
    if not exists (
        select from pg_attribute as a
        where a.attrelid = 'quicksilver.fence'::regclass and a.attname = 'partition'
    ) then
        alter table quicksilver.fence add column partition text;
        update quicksilver.fence set partition = dt::text;
        alter table quicksilver.fence
            alter column partition set not null,
            drop constraint fence_pkey,
            add primary key (dataset, partition),
            alter column dt drop not null;
    end if;
end
$$;

-- What every build published: the answer for a run that died before it could say so, and the
-- history that a partition's volume is compared with.
create table if not exists quicksilver.publication (
    build_id bigint primary key,
    dataset text not null,
    partition text not null,
    dt date,
    generation bigint not null,
    rows_bronze bigint not null,
    rows_silver bigint not null,
    rows_rejected bigint not null,
    loaded_at timestamptz,
    published_at timestamptz not null default clock_timestamp(),
    details jsonb not null default '{}'
);

do $$
begin
    if not exists (
        select from pg_attribute as a
        where a.attrelid = 'quicksilver.publication'::regclass and a.attname = 'partition'
    ) then
        alter table quicksilver.publication add column partition text;
        update quicksilver.publication set partition = dt::text;
        alter table quicksilver.publication
            alter column partition set not null,
            alter column dt drop not null;
        drop index if exists quicksilver.publication_partition;
    end if;
end
$$;

create index if not exists publication_of_partition
on quicksilver.publication (dataset, partition, build_id);

do $$
begin
    if not exists (
        select from pg_attribute as a
        where a.attrelid = 'quicksilver.publication'::regclass and a.attname = 'superseded_at'
    ) then
        alter table quicksilver.publication add column superseded_at timestamptz;
        update quicksilver.publication as p set superseded_at = p.published_at
        where not exists (
            select from quicksilver.fence as f where f.published_build = p.build_id
        );
    end if;
end
$$;

create index if not exists publication_superseded
on quicksilver.publication (superseded_at) where superseded_at is not null;

-- Proves that this schema is ours; its id marks the other schemas of this installation.
create table if not exists quicksilver.installation (
    is_only boolean primary key default true check (is_only),
    id uuid not null default gen_random_uuid(),
    -- Whether an earlier version made this warehouse, and kept no list of its tables.
    is_earlier boolean not null,
    made_at timestamptz not null default now()
);

-- The tables of bronze, silver and gold that we made: no other is ever changed.
create table if not exists quicksilver.published_table (
    schema_name text not null,
    table_name text not null,
    made_at timestamptz not null default now(),
    primary key (schema_name, table_name)
);

-- Each of dbt's seeds that is loaded, and which version of them all.
create table if not exists quicksilver.seed (
    name text primary key,
    version text not null,
    seeded_at timestamptz not null default now()
);

-- The fence of each partition of each published table: several datasets may have models in common, and
-- the session that publishes one of those holds its row. Builds that read it compare its build.
create table if not exists quicksilver.table_partition (
    schema_name text not null,
    table_name text not null,
    partition text not null,
    child text not null,
    dataset text not null,
    build_id bigint not null,
    has_rows boolean not null default false,
    published_at timestamptz not null default now(),
    primary key (schema_name, table_name, partition)
);

create index if not exists table_partition_of on quicksilver.table_partition (dataset, partition);
create index if not exists table_partition_at on quicksilver.table_partition (partition);
