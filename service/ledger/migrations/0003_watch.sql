-- What the service watches by itself: lanes by canaries, trouble as alerts, a build as one trace.

-- One row a canary, kept for some days: the measure of each lane, in seconds from PUT to arrival.
create table quicksilver.canary (
    id bigint generated always as identity primary key,
    bucket text not null,
    -- The objects that were put: a second one where the first was missed.
    keys text [] not null,
    at timestamptz not null,
    fast_state text not null check (fast_state in ('up', 'late', 'silent', 'unknown')),
    fast_lag double precision,
    durable_state text not null check (durable_state in ('up', 'late', 'silent', 'unknown')),
    durable_lag double precision,
    -- The hop that broke, as far as it can be told, and what mends it.
    fault text
);
create index canary_bucket on quicksilver.canary (bucket, id);

-- What somebody must know of: raised once, cleared once, however many replicas see it.
create table quicksilver.alert (
    id bigint generated always as identity primary key,
    kind text not null,
    subject text not null,
    text text not null,
    raised_at timestamptz not null,
    cleared_at timestamptz
);
create unique index alert_one_raised on quicksilver.alert (kind, subject)
where cleared_at is null;

-- W3C trace context: of the newest event of a partition, and of what a build was made for.
alter table quicksilver.partition add column traceparent text;
alter table quicksilver.build add column traceparent text;
