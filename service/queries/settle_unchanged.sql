-- What bronze holds is what was built last: the generation is reached without a run.
update quicksilver.partition set
    built_generation = generation,
    state = 'built',
    wait_reason = null,
    dirty_since = null,
    is_forced = false,
    updated_at = %(now)s
where dataset = %(dataset)s and dt = %(dt)s and state = 'running'
returning generation
