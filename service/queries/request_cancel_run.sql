-- A run is stopped with all of its builds: each must know that no person did it. What is published
-- or yielded needs no reason: it ends as it said.
update quicksilver.build as b set
    cancel_requested_at = coalesce(b.cancel_requested_at, %(now)s),
    deadline_at = least(b.deadline_at, %(deadline)s),
    error = case
        when b.state in ('dispatched', 'running') then coalesce(b.error, %(error)s) else b.error
    end
from quicksilver.build as one
where
    one.id = %(build)s and b.run_key = one.run_key and b.id <> one.id
    and b.state in ('dispatched', 'running', 'published', 'yielded')
