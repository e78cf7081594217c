-- Build ids are fencing tokens: those of a ledger made anew must exceed what the warehouse knows.
select setval(pg_get_serial_sequence('quicksilver.build', 'id'), %(above)s)
where
    %(above)s::bigint > coalesce(
        pg_sequence_last_value(pg_get_serial_sequence('quicksilver.build', 'id')::regclass), 0
    )
