-- What people are shown of a partition's state, and which builds are under way, each told once.
-- Plain expressions: Postgres puts them in the place of the call, so that indexes serve as before.
create function quicksilver.shown_state(state text, paused_at timestamptz) returns text
language sql immutable parallel safe
as $$
    select case
        when paused_at is not null and state in ('waiting', 'pending') then 'paused'
        else state
    end
$$;

create function quicksilver.is_active(build_state text) returns boolean
language sql immutable parallel safe
as $$
    select build_state in ('claimed', 'dispatched', 'running', 'published', 'yielded')
$$;
