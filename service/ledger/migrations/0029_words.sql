-- What failures have in common, told once: an error's first line without names and numbers.
create function quicksilver.cause_of(error text) returns text
language sql immutable parallel safe
as $$
    select left(
        regexp_replace(
            regexp_replace(
                split_part(coalesce(error, 'no reason was given'), E'\n', 1), '\S*[/=]\S*', '…', 'g'
            ),
            '\d+', '#', 'g'
        ),
        150
    )
$$;

-- A partition of which a build is still to begin.
create function quicksilver.is_dirty(state text) returns boolean
language sql immutable parallel safe
as $$
    select state in ('waiting', 'pending')
$$;

-- An event that raised its partition's generation, and of which no build has decided yet.
create function quicksilver.is_open(reason text) returns boolean
language sql immutable parallel safe
as $$
    select reason in ('settling', 'paused')
$$;
