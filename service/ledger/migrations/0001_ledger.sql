-- The ledger: the only truth about what must still be done.
create schema if not exists quicksilver;

-- Declared datasets, synchronised from datasets.yaml at start; the pause is the operators'.
create table quicksilver.dataset (
    name text primary key,
    is_declared boolean not null default true,
    newest_first boolean not null default false,
    max_running integer,
    priority integer not null default 0,
    paused_at timestamptz,
    paused_by text
);

-- One row a partition: what it holds, what is built, what it waits for.
create table quicksilver.partition (
    dataset text not null,
    dt date not null,
    -- Raised by every new object version, lowered by nothing, never reused.
    generation bigint not null default 0,
    built_generation bigint not null default 0,
    state text not null default 'built'
    check (state in ('waiting', 'pending', 'running', 'built', 'failed')),
    wait_reason text,
    -- Failed builds of the present generation; a new generation starts afresh.
    attempts integer not null default 0,
    error text,
    -- A rebuild was asked for: build though the content is unchanged.
    is_forced boolean not null default false,
    priority integer not null default 0,
    -- Not to be claimed before: readiness rules and backoff both move it.
    due_at timestamptz not null default '-infinity',
    -- The first change that is not built yet: the order of the backlog.
    dirty_since timestamptz,
    -- The newest change: what a `quiet` rule counts from.
    changed_at timestamptz,
    built_manifest jsonb,
    -- Since when bronze holds no object of it any more.
    gone_at timestamptz,
    flow_run_id uuid,
    put_at timestamptz,
    received_at timestamptz,
    dispatched_at timestamptz,
    started_at timestamptz,
    loaded_at timestamptz,
    built_at timestamptz,
    rows_bronze bigint,
    rows_silver bigint,
    rows_rejected bigint,
    updated_at timestamptz not null default now(),
    primary key (dataset, dt),
    check (built_generation between 0 and generation)
);
create index partition_dirty on quicksilver.partition (priority desc, dirty_since)
where state in ('waiting', 'pending');

-- What bronze holds, as last told by an event or a listing.
create table quicksilver.object (
    bucket text not null,
    key text not null,
    dataset text not null,
    dt date not null,
    etag text not null,
    version_id text,
    size bigint,
    last_modified timestamptz,
    -- Who told of this version first: the measure of each lane.
    found_by text not null,
    seen_at timestamptz not null,
    primary key (bucket, key),
    foreign key (dataset, dt) references quicksilver.partition (dataset, dt)
);
create index object_partition on quicksilver.object (dataset, dt);

-- Every event once, however often and on however many lanes it came.
create table quicksilver.event (
    id bigint generated always as identity primary key,
    identity bytea not null unique,
    event_name text not null,
    bucket text not null,
    key text not null,
    dataset text,
    dt date,
    generation bigint,
    etag text,
    version_id text,
    size bigint,
    sequencer text,
    event_at timestamptz,
    received_at timestamptz not null,
    fast_at timestamptz,
    durable_at timestamptz,
    deliveries integer not null default 1,
    source text not null,
    reason text not null
);
create index event_partition on quicksilver.event (dataset, dt, id);
create index event_key on quicksilver.event (key, id);
create index event_received on quicksilver.event (received_at);
create index event_undecided on quicksilver.event (dataset, dt)
where reason in ('settling', 'paused');

-- One attempt to bring silver to a generation: one Prefect flow run.
-- The id only rises and is the fencing token of the build in the warehouse.
create table quicksilver.build (
    id bigint generated always as identity primary key,
    dataset text not null,
    dt date not null,
    generation bigint not null,
    attempt integer,
    state text not null default 'claimed' check (
        state in (
            'claimed', 'dispatched', 'running', 'published', 'yielded',
            'succeeded', 'failed', 'lost', 'superseded', 'cancelled'
        )
    ),
    idempotency_key text unique,
    owner text not null,
    flow_run_id uuid,
    manifest jsonb,
    -- The newest object version in the manifest: when it was put, and when its event came.
    put_at timestamptz,
    received_at timestamptz,
    claimed_at timestamptz not null,
    dispatched_at timestamptz,
    started_at timestamptz,
    loaded_at timestamptz,
    published_at timestamptz,
    finished_at timestamptz,
    -- By when the next state must be reached; past it the build is given up.
    deadline_at timestamptz,
    -- Since when nobody holds a running build: its process died, or Postgres restarted.
    abandoned_at timestamptz,
    cancel_requested_at timestamptz,
    error text,
    rows_bronze bigint,
    rows_silver bigint,
    rows_rejected bigint,
    details jsonb,
    foreign key (dataset, dt) references quicksilver.partition (dataset, dt)
);
-- At most one build of a partition at a time: said by the database, not by the code.
create unique index build_one_active on quicksilver.build (dataset, dt)
where state in ('claimed', 'dispatched', 'running', 'published', 'yielded');
create index build_partition on quicksilver.build (dataset, dt, id);
create index build_active on quicksilver.build (state)
where state in ('claimed', 'dispatched', 'running', 'published', 'yielded');
create index build_flow_run on quicksilver.build (flow_run_id);

-- Authentic and understood by nobody: raw bytes, since they may be no text and no JSON.
create table quicksilver.quarantine (
    id bigint generated always as identity primary key,
    digest bytea not null unique,
    reason text not null,
    body bytea not null,
    lane text not null,
    source text not null,
    first_seen timestamptz not null,
    last_seen timestamptz not null,
    count bigint not null default 1
);
create index quarantine_last_seen on quicksilver.quarantine (last_seen);

-- Running totals that outlive a process: dropped quarantine rows, sweep findings.
create table quicksilver.counter (
    name text primary key,
    value bigint not null default 0
);

-- Who dispatches, and when it was last heard of.
create table quicksilver.dispatcher (
    owner text primary key,
    started_at timestamptz not null,
    seen_at timestamptz not null
);

-- What operators did, by whom and when.
create table quicksilver.action (
    id bigint generated always as identity primary key,
    at timestamptz not null,
    actor text not null,
    action text not null,
    subject text not null
);
