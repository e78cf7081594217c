-- A claim that never had a key leaves no trace: nobody was told of it.
delete from quicksilver.build
where id = %(build)s and state = 'claimed' and owner = %(owner)s and idempotency_key is null
returning id
