"""Prefect: deployments and their runs, the work pool, blocks, automations."""
