-- Partition first, build second: one order everywhere, so that no two transitions wait in a circle.
-- Those of a run that several builds share in their own order, for the same reason.
select p.dataset, p.dt
from quicksilver.partition as p
inner join quicksilver.build as b on p.dataset = b.dataset and p.dt = b.dt
where b.id = %(build)s::bigint or b.idempotency_key = %(key)s::text or b.run_key = %(key)s::text
order by p.dataset, p.dt
for update of p
