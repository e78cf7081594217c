-- What each comparison of bronze with the ledger saw: the proof that nothing was lost.
create table quicksilver.sweep (
    id bigint generated always as identity primary key,
    dataset text not null,
    at timestamptz not null,
    -- Objects: listed, those that no event had told of, and partitions that lost some.
    listed bigint not null,
    found bigint not null,
    gone bigint not null,
    -- The partitions listed, kept for the newest sweep of a dataset only.
    partitions bigint not null,
    dts date [] not null
);
create index sweep_dataset on quicksilver.sweep (dataset, id);
