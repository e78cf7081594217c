"""HTTP: senders' routes, the operators' API and pages, health, metrics."""
