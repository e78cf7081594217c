"""What `make bench` runs: every figure beside its baseline, measured in the same run."""
