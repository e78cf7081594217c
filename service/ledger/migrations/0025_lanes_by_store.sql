-- A store may have fewer lanes than two, or none: `none` is no silence, nobody expects it to tell.
alter table quicksilver.canary
drop constraint canary_fast_state_check,
drop constraint canary_durable_state_check,
add constraint canary_fast_state_check
check (fast_state in ('up', 'late', 'silent', 'unknown', 'none')),
add constraint canary_durable_state_check
check (durable_state in ('up', 'late', 'silent', 'unknown', 'none'));
