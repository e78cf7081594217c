"""Imports what runs need, and proves that no import left anything that a fork would break.

A thread does not survive a fork, but the locks that it holds do; a socket or client would be shared
by every run. So if a module starts a thread or opens a connection when it is imported, the engine
names it and refuses to start.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import os
import sys
import time
import traceback
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from quicksilver.engine.first_use import use_once

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
    "anyio._backends._asyncio",
    "rich._emoji_codes",
    # Imported by a run's first model and first connection otherwise.
    "pydantic.v1",
    "encodings.idna",
    "dbt.cli.main",
    "dbt.adapters.postgres",
    "pyarrow.parquet",
    "s3fs",
    "adbc_driver_postgresql.dbapi",
    "psycopg",
    "quicksilver.flows.silver_build",
    "quicksilver.flows.silver_after_bronze",
    "quicksilver.flows.nyc_tlc.ingest",
)
# Modules whose `preload()` is called, where there is one, after a rehearsal in a fork: it may parse
# and cache, not connect.
DEFAULT_HOOKS = ("quicksilver.build.preload",)

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
    """The process holds threads or descriptors that must not be copied; lists them by origin."""


def preload(
    modules: Sequence[str], hooks: Sequence[str], say: Say, expected: Collection[int]
) -> None:
    """Import `modules`, call `preload()` of the `hooks`; `expected` are the server's own files.

    A module that is not installed, or whose import fails, costs one line: the run will import it
    itself and fail, or not, as it would under the stock engine. Raises DisturbedError.
    """
    for module in modules:
        _import(module, say)
        assert_quiet(expected, f"importing {module}")
    use_once()
    settle("the imports")
    assert_quiet(expected, "the imports")
    for module in hooks:
        _call_hook(module, say, expected)


def settle(since: str) -> None:
    """End the process that `multiprocessing` started for the first lock that a module made.

    Raises DisturbedError when such a lock is still there: it lies in shared memory, so every run
    would hold the same one, and one that is killed while holding it would stop all others.
    """
    gc.collect()
    if synchronize := sys.modules.get("multiprocessing.synchronize"):
        shared = [o for o in gc.get_objects() if isinstance(o, synchronize.SemLock)]
        if shared:
            raise DisturbedError(f"{since} left a lock that all runs would share: {shared[0]!r}")
    tracker = getattr(
        sys.modules.get("multiprocessing.resource_tracker"), "_resource_tracker", None
    )
    stop = getattr(tracker, "_stop", None)  # without it, the open pipe is what gets reported
    if callable(stop):
        stop()


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


def _call_hook(module: str, say: Say, expected: Collection[int]) -> None:
    try:
        if importlib.util.find_spec(module) is None:
            return
        hook = getattr(importlib.import_module(module), "preload", None)
    except Exception as error:
        say(f"not preloaded: {module} ({error!r})")
        return
    if not callable(hook):
        return
    begin = time.perf_counter()
    # The first time it may have to parse, which leaves a lock, a pipe and a process behind here
    # (dbt's adapter); the second time it finds on disk what the first one kept.
    if _rehearse(hook, say, expected) or _rehearse(hook, say, expected):
        hook()
        settle(f"{module}.preload()")
        assert_quiet(expected, f"{module}.preload()")
        say(f"{module}.preload() took {time.perf_counter() - begin:.2f} s")
    else:
        say(f"{module}.preload() is left out: runs do its work themselves")


def _rehearse(hook: Callable[[], object], say: Say, expected: Collection[int]) -> bool:
    """Whether `hook` works and leaves nothing behind, found out in a copy of this process."""
    copy = os.fork()
    if copy == 0:
        try:
            hook()
            settle("it")
            assert_quiet(expected, "it")
            os._exit(0)
        except DisturbedError as error:
            say(f"{hook.__module__}.preload() is not fit to be forked: {error}")
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    return os.waitpid(copy, 0)[1] == 0
