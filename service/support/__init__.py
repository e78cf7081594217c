"""What every room may use: clock, log, metrics, tracing, Postgres, HTTP."""
