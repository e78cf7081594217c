-- What others want to hear of, written in the commit that makes it true, sent afterwards.
create table quicksilver.announcement (
    id bigint generated always as identity primary key,
    name text not null,
    resource text not null,
    payload jsonb not null,
    at timestamptz not null,
    sent_at timestamptz
);
create index announcement_unsent on quicksilver.announcement (id) where sent_at is null;

-- A gate fires once for a set and its generation: the sum of what its members were built at.
create table quicksilver.gate_run (
    gate text not null,
    set_key text not null,
    generation bigint not null,
    opened_at timestamptz not null,
    flow_run_id uuid,
    fired_at timestamptz,
    primary key (gate, set_key, generation)
);
