-- Objects that lie where a dataset's keys do and fit no partition: `dt=2024-13-45`.
alter table quicksilver.sweep
add column unmatched bigint not null default 0,
add column unmatched_keys text [] not null default '{}';

-- The newest builds of a dataset, and those of the last day.
create index build_ended on quicksilver.build (dataset, id desc) where finished_at is not null;
create index build_published on quicksilver.build (published_at) where published_at is not null;

-- Since when a dataset is declared: that nothing landed yet says nothing in its first interval.
alter table quicksilver.dataset add column declared_at timestamptz not null default now();
