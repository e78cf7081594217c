-- What a build waited for before it began, and who asked for it: a timeline names each part.
alter table quicksilver.partition
-- Who asked for the rebuild that `is_forced` tells of.
add column asked_by text;

alter table quicksilver.build
-- Since when its partition was not what silver held, and from when on it could be claimed.
add column dirty_since timestamptz,
add column due_at timestamptz,
add column asked_by text,
-- When a worker took its run up: from then on the run was starting.
add column taken_at timestamptz;

-- What failed stays failed; this says what became of it.
alter table quicksilver.event add column outcome text;

-- A build that publishes makes good what failed before and nothing made good since.
drop index quicksilver.event_failed;
create index event_failed on quicksilver.event (dataset, partition)
where reason = 'failed' and outcome is null;
