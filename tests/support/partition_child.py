"""Builds in processes of their own, which may die by SIGKILL at a step.

They are forked from a server that has dbt in memory, as the warm engine does it; started cold,
each would spend seconds on imports.
"""

import asyncio
import multiprocessing
import os
import signal
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from quicksilver.build import batch
from quicksilver.build.partition import build_partition
from quicksilver.domain.datasets import Dataset
from quicksilver.domain.manifest import ManifestFile
from quicksilver.errors import QuicksilverError
from quicksilver.settings import Settings
from quicksilver.warehouse import publish

# Where each step of a build can be interrupted: a function that is called right then.
STEPS: dict[str, tuple[Any, str]] = {
    "after begin": (batch, "open_files"),
    "before load": (batch, "load_each"),
    "after load": (batch, "run_models"),
    "after dbt": (batch, "refuse_failures"),
    "before publish": (batch, "publish"),
    "within publish": (publish, "statement"),
    "after publish": (batch, "drop_scratch"),
}

Job = tuple[date, int, Sequence[ManifestFile]]


@dataclass
class Child:
    """A building process and what it says."""

    process: Any
    output: Path

    def wait(self, seconds: float = 120) -> tuple[int, list[str]]:
        """Its exit code (minus the signal) and its lines."""
        self.process.join(seconds)
        code = self.process.exitcode
        assert code is not None, "the child is not done in time"
        lines = self.output.read_text().splitlines()
        self.output.unlink()
        return code, lines


def start(
    settings: Settings,
    dataset: Dataset,
    jobs: Sequence[Job],
    die_at: str = "",
    *,
    preload: bool = True,
) -> Child:
    """Build `jobs` one after the other in a process of their own.

    Without `preload` nothing of this process or another child's is in it.
    """
    context: Any = multiprocessing.get_context("forkserver" if preload else "spawn")
    if preload:
        context.set_forkserver_preload(["tests.support.partition_preload"])
    handle, name = tempfile.mkstemp(prefix="qs-child-")
    os.close(handle)
    process = context.Process(target=_main, args=(settings, dataset, list(jobs), die_at, name))
    process.start()
    return Child(process, Path(name))


def _main(
    settings: Settings, dataset: Dataset, jobs: Sequence[Job], die_at: str, output: str
) -> None:
    with Path(output).open("w", buffering=1) as out:
        asyncio.run(_build(settings, dataset, jobs, die_at, out))


async def _build(
    settings: Settings, dataset: Dataset, jobs: Sequence[Job], die_at: str, out: Any
) -> None:
    for dt, build_id, manifest in jobs:
        if die_at:
            _arm(die_at, build_id)
        try:
            result = await build_partition(
                settings, dataset, f"{dt}", build_id=build_id, generation=1, manifest=manifest
            )
            out.write(f"{dt} built {result.rows_silver}\n")
        except QuicksilverError as error:
            out.write(f"{dt} {type(error).__name__} {error}\n")


def _arm(step: str, build_id: int) -> None:
    module, name = STEPS[step]
    original = getattr(module, name)

    def die(*arguments: Any, **keywords: Any) -> Any:
        # At its beginning a build cleans up after the one before it; that is another step.
        if name == "drop_scratch" and arguments[3] != build_id:
            return original(*arguments, **keywords)
        os.kill(os.getpid(), signal.SIGKILL)
        return None

    setattr(module, name, die)
