-- Open pages ask several times a second whether a gate fired; the gatekeeper looks for those that did not.
create index gate_run_fired on quicksilver.gate_run (fired_at);
