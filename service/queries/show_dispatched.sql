update quicksilver.partition set
    flow_run_id = %(flow_run_id)s,
    dispatched_at = %(now)s,
    started_at = case when started_at >= %(claimed_at)s then started_at end,
    loaded_at = null,
    built_at = case when built_at >= %(claimed_at)s then built_at end,
    updated_at = %(now)s
where dataset = %(dataset)s and dt = %(dt)s
