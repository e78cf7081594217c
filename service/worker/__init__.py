"""Prefect's worker type `quicksilver`: a process worker whose runs begin at once.

`prefect worker start --pool POOL --type quicksilver` finds it through its entry point. Nothing else
of the package knows it; without it, `--type process` serves the same pools, later
(`adr/0021-worker-type.md`).
"""

from quicksilver.worker.worker import TYPE, QuicksilverWorker

__all__ = ["TYPE", "QuicksilverWorker"]
