-- The trouble of one is its own: what ends for good, whose key it is, and whose turn.

-- An error of the data: another try of the same content would end the same way.
alter table quicksilver.build add column is_final boolean not null default false;

-- Which ledger this is: part of every key under which Prefect knows a run of it. One row.
create table quicksilver.identity (
    is_only boolean primary key default true check (is_only),
    id uuid not null default gen_random_uuid(),
    made_at timestamptz not null default now()
);
insert into quicksilver.identity default values;

-- The next partitions of each dataset, in its order, oldest or newest first.
drop index quicksilver.partition_dirty;
create index partition_oldest on quicksilver.partition (dataset, priority desc, dirty_since, partition)
where state in ('waiting', 'pending');
create index partition_newest on quicksilver.partition (dataset, priority desc, dirty_since desc, partition)
where state in ('waiting', 'pending');

-- A sweep reads a dataset's objects in the order in which a store lists them: by bytes.
create index object_listed on quicksilver.object (dataset, key collate "C");
