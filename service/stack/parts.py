"""The parts of the stack: what each needs, and the programs that it is made of."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Sequence

from quicksilver.stack.errors import StackError
from quicksilver.stack.home import Home
from quicksilver.stack.minio import minio_program
from quicksilver.stack.orchestrator import (
    engine_program,
    prefect_program,
    service_program,
    worker_program,
)
from quicksilver.stack.postgres import postgres_program
from quicksilver.stack.program import Program
from quicksilver.stack.versity import versity_program

# Stores for bronze. Versity's gateway starts after the service, to which it posts at its start.
STORES = ("minio", "versity")
LATE_STORES = frozenset({"versity"})
# In the order of their start; they are stopped in reverse. Another store takes MinIO's place.
PARTS = ("postgres", "minio", "prefect", "service", "engine", "worker")
_ORDER = ("postgres", "minio", "prefect", "service", "versity", "engine", "worker")
# Beside the user's own MinIO, Prefect and workers.
OWN_SERVICES = ("postgres", "service", "engine")
# The warm engine needs Linux; elsewhere runs start the stock way.
_HERE = frozenset(_ORDER if sys.platform == "linux" else set(_ORDER) - {"engine"})
_NEEDS = {
    "worker": {"prefect"},
    "prefect": {"postgres"},
    "service": {"postgres"},
    "versity": {"service"},
}


def with_needs(parts: Collection[str], store: str = "minio") -> frozenset[str]:
    """The parts that were asked for and those that they need, less what this system cannot run.

    `store` takes the place of MinIO.

    Raises:
        StackError: for an unknown part, or a store that does not run here.
    """
    if store not in STORES:
        raise StackError(
            f"the embedded stack runs {' or '.join(STORES)}, and QUICKSILVER_STORE is {store}: set"
            " it to one of them, or run that store yourself (docs/stores.md)"
        )
    if unknown := set(parts) - set(PARTS):
        raise StackError(f"no such part: {', '.join(sorted(unknown))} (of {', '.join(PARTS)})")
    wanted = {store if part == "minio" else part for part in parts}
    for part in reversed(_ORDER):  # a part needs earlier ones alone
        if part in wanted:
            wanted |= _NEEDS.get(part, set())
    return _HERE & wanted


def make_programs(
    home: Home,
    parts: Collection[str],
    *,
    limit: int,
    extra: Sequence[Callable[[Home], Program]] = (),
) -> Iterator[Program]:
    """The programs of these parts, in the order of their start, `extra` before the worker.

    A new part of the stack is added here.
    """
    makers: dict[str, Callable[[Home], Program]] = {
        "postgres": postgres_program,
        "minio": minio_program,
        "prefect": prefect_program,
        "service": service_program,
        "versity": versity_program,
        "engine": engine_program,
    }
    for name, make in makers.items():
        if name in parts:
            yield make(home)
    for make in extra:
        yield make(home)
    if "worker" in parts:
        yield worker_program(home, limit)
