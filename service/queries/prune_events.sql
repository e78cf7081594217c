-- Generations live with the partition: an event that goes frees none.
delete from quicksilver.event
where id in (
    select e.id from quicksilver.event as e
    where e.received_at < %(before)s and e.reason not in ('settling', 'paused')
    limit 10000
)
