update quicksilver.dataset set is_declared = false
where not name = any(%(names)s)
