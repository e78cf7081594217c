-- The flow may have begun before this mark: then only the run's id is still to be kept.
update quicksilver.build set
    state = case when state = 'claimed' then 'dispatched' else state end,
    flow_run_id = coalesce(flow_run_id, %(flow_run_id)s),
    dispatched_at = %(now)s,
    deadline_at = case when state = 'claimed' then %(deadline)s else deadline_at end
where
    id = %(build)s and owner = %(owner)s
    and state in ('claimed', 'running', 'published', 'yielded')
returning state, generation
