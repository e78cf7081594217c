update quicksilver.gate_run set flow_run_id = %(flow_run_id)s, fired_at = %(now)s
where
    gate = %(gate)s and set_key = %(set_key)s and generation = %(generation)s
    and fired_at is null
