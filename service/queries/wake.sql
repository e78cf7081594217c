select pg_notify('quicksilver', %(payload)s)
