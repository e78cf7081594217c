-- A browser's session that was logged out of, kept until its cookie expires by itself.
create table quicksilver.closed_session (
    id text primary key,
    expires_at timestamptz not null
);
