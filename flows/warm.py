"""What the warm engine calls before it forks: everything a build would otherwise do first."""

import gc
import threading

from dbt.adapters.factory import reset_adapters

from flows import dbt_runner


def preload() -> None:
    """Parse the dbt project, or read its cache; opens no connection and starts no thread."""
    manifest = dbt_runner.manifest()
    # dbt gives its manifest and its adapter a lock between processes. Every fork would hold the
    # same one; a run is one process, and makes an adapter of its own.
    manifest._lock = threading.Lock()  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]
    reset_adapters()
    gc.collect()
