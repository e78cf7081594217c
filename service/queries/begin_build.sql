-- Finish only what you still hold: a build that was given up cannot begin. All builds of the run.
update quicksilver.build set
    state = 'running',
    flow_run_id = %(flow_run_id)s,
    started_at = %(now)s,
    deadline_at = %(deadline)s,
    abandoned_at = null
where
    (run_key = %(key)s or (idempotency_key = %(key)s and run_key is null))
    and idempotency_key is not null
    and (
        state in ('claimed', 'dispatched')
        or (state = 'running' and flow_run_id = %(flow_run_id)s)
    )
returning id, dataset, dt, generation, attempt, manifest, claimed_at, traceparent
