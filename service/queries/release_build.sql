-- Only a build that never asked Prefect for a run may vanish: its key was never used.
delete from quicksilver.build
where id = %(build)s and state = 'claimed' and owner = %(owner)s and dispatched_at is null
returning id
