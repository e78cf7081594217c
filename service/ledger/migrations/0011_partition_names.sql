-- A partition has a name: its time at the dataset's grain and its dimensions, `2024-05-01T13/region=eu`.
-- What was a date is that name now; `dt` stays beside it, the first day of its time, for ranges.
alter table quicksilver.object drop constraint object_dataset_dt_fkey;
alter table quicksilver.build drop constraint build_dataset_dt_fkey;

alter table quicksilver.partition rename column dt to partition;
alter table quicksilver.partition
alter column partition type text using to_char(partition, 'YYYY-MM-DD');
alter table quicksilver.partition add column dt date;
update quicksilver.partition set dt = partition::date;
create index partition_dt on quicksilver.partition (dataset, dt);

alter table quicksilver.object rename column dt to partition;
alter table quicksilver.object
alter column partition type text using to_char(partition, 'YYYY-MM-DD');
-- An object may belong to partitions of several datasets.
alter table quicksilver.object drop constraint object_pkey;
alter table quicksilver.object add primary key (dataset, bucket, key);

alter table quicksilver.event rename column dt to partition;
alter table quicksilver.event
alter column partition type text using to_char(partition, 'YYYY-MM-DD');

alter table quicksilver.build rename column dt to partition;
alter table quicksilver.build
alter column partition type text using to_char(partition, 'YYYY-MM-DD');

alter table quicksilver.object
add foreign key (dataset, partition) references quicksilver.partition (dataset, partition);
alter table quicksilver.build
add foreign key (dataset, partition) references quicksilver.partition (dataset, partition);

-- The names of the partitions that a sweep listed, for the newest sweep of a dataset only.
alter table quicksilver.sweep add column names text [] not null default '{}';
update quicksilver.sweep set names = dts::text [];
alter table quicksilver.sweep drop column dts;
