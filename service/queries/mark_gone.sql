-- What silver holds of it stays, unless the dataset says otherwise. What is built stays built;
-- what was dirty waits for a file, and is late for nothing meanwhile.
update quicksilver.partition set
    gone_at = coalesce(gone_at, %(now)s),
    state = case when state = any(%(dirty)s) then 'waiting' else state end,
    wait_reason = case when state = any(%(dirty)s) then 'no file in the folder' else wait_reason end,
    due_at = case when state = any(%(dirty)s) then 'infinity' else due_at end,
    dirty_since = case when state = any(%(dirty)s) then null else dirty_since end,
    updated_at = %(now)s
where dataset = %(dataset)s and dt = %(dt)s
