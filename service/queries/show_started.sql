update quicksilver.partition set
    started_at = %(now)s,
    loaded_at = null,
    built_at = null,
    flow_run_id = %(flow_run_id)s,
    updated_at = %(now)s
where dataset = %(dataset)s and dt = %(dt)s
