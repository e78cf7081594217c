-- The Prefect run's idempotency key where several builds share one run; null: the build's own key.
alter table quicksilver.build add column run_key text;
create index build_run on quicksilver.build (run_key) where run_key is not null;
