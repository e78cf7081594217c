-- One text that differs whenever an operators' page would: each part is an index's end, or few rows.
select
    md5(
        concat_ws(
            '|',
            (select max(e.id) from quicksilver.event as e),
            (
                select max(r.durable_at)
                from (
                    select e.durable_at from quicksilver.event as e order by e.id desc limit 100
                ) as r
            ),
            (select max(b.id) from quicksilver.build as b),
            (
                select string_agg(b.id || b.state, ',' order by b.id)
                from quicksilver.build as b
                where b.state in ('claimed', 'dispatched', 'running', 'published', 'yielded')
            ),
            (select count(*) || '+' || max(q.last_seen) from quicksilver.quarantine as q),
            (select max(a.id) from quicksilver.action as a),
            (select max(s.id) from quicksilver.sweep as s),
            (select max(c.id) from quicksilver.canary as c),
            (
                select string_agg(a.id::text, ',' order by a.id)
                from quicksilver.alert as a
                where a.cleared_at is null
            ),
            (select max(g.fired_at) from quicksilver.gate_run as g),
            (
                select string_agg(d.name || coalesce(d.paused_at::text, ''), ',' order by d.name)
                from quicksilver.dataset as d
            )
        )
    ) as pulse
