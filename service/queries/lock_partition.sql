select
    p.generation,
    p.built_generation,
    p.state,
    p.is_forced,
    p.built_manifest,
    p.dirty_since,
    p.changed_at,
    p.put_at,
    p.received_at,
    p.attempts
from quicksilver.partition as p
where p.dataset = %(dataset)s and p.dt = %(dt)s
for update
