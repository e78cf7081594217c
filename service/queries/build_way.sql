select
    b.dataset, b.dt, b.generation, b.state, b.put_at, b.received_at, b.dispatched_at,
    b.started_at, b.loaded_at, b.published_at
from quicksilver.build as b
where b.id = %(build)s
