-- A browser's session that was logged out of, kept until its cookie expires by itself.
create table quicksilver.closed_session (
    id text primary key,
    expires_at timestamptz not null
);

-- Rows that a dbt test found fault with, a list of objects: of the data itself, for operators alone.
alter table quicksilver.build add column failed_rows jsonb;
