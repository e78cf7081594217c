-- A sealed claim may have reached Prefect, whose answer was lost: its key is spent, not freed.
update quicksilver.build set
    state = 'superseded',
    finished_at = %(now)s,
    error = %(error)s
where
    id = %(build)s and state = 'claimed' and owner = %(owner)s
    and idempotency_key is not null
returning id
