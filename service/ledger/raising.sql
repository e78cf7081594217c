-- name: raise_generations
-- A running build keeps the state `running`; what was raised meanwhile waits behind it.
update quicksilver.partition as p set
    generation = p.generation + i.versions,
    state = case when p.state = 'running' then p.state else i.state end,
    wait_reason = i.wait_reason,
    due_at = i.due_at,
    attempts = 0,
    error = null,
    gone_at = null,
    -- What failed starts afresh, as its attempts do.
    dirty_since = case
        when p.state = 'failed' then i.received_at else coalesce(p.dirty_since, i.received_at)
    end,
    -- A rebuild is not a landing.
    changed_at = case when i.is_forced then coalesce(p.changed_at, i.received_at) else i.received_at end,
    -- A backfill does not lower the priority of a partition that waits already.
    priority = case
        when quicksilver.is_dirty(p.state) then greatest(p.priority, i.priority) else i.priority
    end,
    is_forced = p.is_forced or i.is_forced,
    asked_by = case
        when i.is_forced then i.asked_by
        when p.is_forced then p.asked_by
    end,
    put_at = i.put_at,
    received_at = i.received_at,
    traceparent = i.traceparent,
    updated_at = i.received_at
from jsonb_to_recordset(%(items)s::jsonb) as i (
    dataset text, partition text, versions integer, state text, wait_reason text,
    due_at timestamptz, put_at timestamptz, received_at timestamptz, priority integer,
    is_forced boolean, asked_by text, traceparent text
)
where p.dataset = i.dataset and p.partition = i.partition
