-- An alert is one cause: how much it concerns, what it links to, who was told of it when.
alter table quicksilver.alert
add column count integer not null default 1,
add column link text not null default '/',
-- When people were told that it is there, and that it is over.
add column told_at timestamptz,
add column end_told_at timestamptz,
-- A replica that tells people holds it so long; past it another one does.
add column telling_until timestamptz,
-- Nobody is told of it until then: who said so, and why.
add column silenced_until timestamptz,
add column silenced_by text,
add column silenced_for text;

-- What is over was told by the release before, if at all.
update quicksilver.alert set told_at = raised_at, end_told_at = cleared_at
where cleared_at is not null;

-- Failures are grouped every few seconds, among partitions that are nearly all built.
create index partition_failed on quicksilver.partition (dataset) where state = 'failed';

-- Why somebody paused it.
alter table quicksilver.dataset add column paused_for text;
