"""Pure rules: datasets, partitions, readiness, gates, states, reasons. No network, no driver."""
