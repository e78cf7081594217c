"""Imports what runs need, and proves that no import left anything behind that a fork would break.

A thread does not survive a fork but the locks that it holds do; a socket or client would be shared
by every run. So a module that starts a thread or opens a connection when it is imported is named,
and the engine refuses to start.
"""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

# Prefect's engine with what it imports late, then what the flows use.
DEFAULT_MODULES = (
    "prefect.main",
    "prefect.engine",
    "prefect.flow_engine",
    "prefect.task_engine",
    "prefect.events.clients",
    "prefect.deployments.steps.core",
    "prefect.telemetry.run_telemetry",
    "prefect._internal.metrics",
    "dbt.cli.main",
    "dbt.adapters.postgres",
    "pyarrow.parquet",
    "s3fs",
    "adbc_driver_postgresql.dbapi",
    "psycopg",
    "flows.silver_build",
    "flows.silver_after_bronze",
    "flows.ingest_nyc_tlc",
)
# Modules whose `preload()` is called, where there is one: it may parse and cache, not connect.
HOOKS = ("flows.warm", "flows.dbt")

# Both are read when the library is loaded, and each keeps it from starting a thread right then:
# OpenBLAS's pool, which no run needs, and the background purge of the allocator inside Arrow,
# which then purges while it allocates.
QUIETING = {
    "OPENBLAS_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    # Amplitude's client is a thread and a connection, made as Prefect is imported on a terminal.
    "DO_NOT_TRACK": "1",
}

Say = Callable[[str], None]


class DisturbedError(Exception):
    """The process holds threads or descriptors that must not be copied; says which and whose."""


def preload(modules: Sequence[str], say: Say, expected: Collection[int]) -> None:
    """Import `modules` and call the hooks. `expected`: the descriptors that are the server's own.

    A module that is not installed, or whose import fails, costs one line: the run will import it
    itself and fail, or not, as it would under the stock engine. Raises DisturbedError.
    """
    for module in modules:
        _import(module, say)
        assert_quiet(expected, f"importing {module}")
    for module in HOOKS:
        _call_hook(module, say)
        assert_quiet(expected, f"{module}.preload()")


def assert_quiet(expected: Collection[int], since: str) -> None:
    """Raises DisturbedError unless one thread is all, and 0, 1, 2 and `expected` are all files."""
    threads = [_name(task) for task in Path("/proc/self/task").iterdir()]
    if len(threads) > 1:
        raise DisturbedError(f"{since} left {len(threads) - 1} threads: {', '.join(threads)}")
    for file in Path("/proc/self/fd").iterdir():
        if int(file.name) <= 2 or int(file.name) in expected:
            continue
        try:
            target = file.readlink()
        except OSError:
            continue  # the descriptor with which /proc/self/fd itself was listed
        raise DisturbedError(f"{since} left descriptor {file.name} open: {target}")


def _name(task: Path) -> str:
    try:
        return (task / "comm").read_text().strip()
    except OSError:
        return "ended meanwhile"


def _import(module: str, say: Say) -> None:
    begin = time.perf_counter()
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        say(f"not preloaded: {module} ({error})")
    except Exception as error:
        say(f"not preloaded: {module} ({type(error).__name__}: {error})")
    else:
        if (took := time.perf_counter() - begin) > 0.05:
            say(f"imported {module} in {took:.2f} s")


def _call_hook(module: str, say: Say) -> None:
    try:
        if importlib.util.find_spec(module) is None:
            return
        hook = getattr(importlib.import_module(module), "preload", None)
        if callable(hook):
            begin = time.perf_counter()
            hook()
            say(f"{module}.preload() took {time.perf_counter() - begin:.2f} s")
    except Exception as error:
        say(f"{module}.preload() failed, runs do its work themselves: {error!r}")
