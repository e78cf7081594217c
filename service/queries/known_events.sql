select identity from quicksilver.event
where identity = any(%(identities)s)
