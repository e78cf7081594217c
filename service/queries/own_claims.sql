select
    b.id, b.dataset, b.dt, b.generation, b.attempt, b.idempotency_key, b.claimed_at, b.run_key
from quicksilver.build as b
where b.state = 'claimed' and b.owner = %(owner)s
order by b.id
