-- When any replica's receiver last refused a lane's token: the canary asks why a lane is silent.
create table quicksilver.refusal (
    lane text primary key,
    at timestamptz not null
);
