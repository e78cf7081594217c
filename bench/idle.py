"""What the stack costs while nothing lands: processor time and memory of its own processes.

The window is as long as the pause between two sweeps and two canaries, so it holds one of each.
Other figures that touch neither the service nor its ledger may be taken meanwhile: the processor
time of a process is counted for it alone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import psutil

from bench.report import Figure, Outcome
from bench.stage import BenchStage

SECONDS = 300.0
_PROGRAMS = ("service", "engine", "worker", "prefect", "minio", "postgres")


@dataclass
class Window:
    """An idle window that has begun."""

    began: float
    seconds: float
    cpu: dict[str, float]


def begin(stage: BenchStage, seconds: float = SECONDS) -> Window:
    """Begin the window."""
    return Window(time.monotonic(), 20.0 if stage.quick else seconds, _cpu(stage))


def end(stage: BenchStage, window: Window) -> Outcome:
    """Wait for the window's end, and read what was used."""
    time.sleep(max(0.0, window.began + window.seconds - time.monotonic()))
    seconds = time.monotonic() - window.began
    used = {name: 100 * (total - window.cpu[name]) / seconds for name, total in _cpu(stage).items()}
    memory = {name: _memory(stage, name) / 2**20 for name in _PROGRAMS}
    both, whole = used["service"] + used["engine"], sum(used.values())
    parts = ", ".join(f"{name} {percent:.1f} %" for name, percent in used.items())
    what = f"{seconds:.0f} s idle"
    figures = [
        Figure(
            f"{what}: CPU of the whole stack", whole, "% of a core", "≤ 6 %", whole <= 6,
            note=parts,
        ),
        Figure(
            f"{what}: CPU of service and launcher", both, "% of a core", "≤ 1 %", both <= 1,
            "Prefect's server beside them", used["prefect"],
        ),
        Figure(
            f"{what}: memory of the service", memory["service"], "MB", "≤ 150 MB",
            memory["service"] <= 150, "Prefect's server beside it", memory["prefect"],
        ),
    ]  # fmt: skip
    raw: dict[str, Any] = {"seconds": seconds, "cpu_percent": used, "memory_mb": memory}
    return Outcome(figures, raw)


def _family(stage: BenchStage, program: str) -> list[psutil.Process]:
    process = psutil.Process(stage.pid(program))
    return [process, *process.children(recursive=True)]


def _cpu(stage: BenchStage) -> dict[str, float]:
    """Seconds of a core that each program has used, with its children that have ended."""
    found: dict[str, float] = {}
    for name in _PROGRAMS:
        total = 0.0
        for process in _family(stage, name):
            times = process.cpu_times()
            total += times.user + times.system
            total += times.children_user + times.children_system
        found[name] = total
    return found


def _memory(stage: BenchStage, program: str) -> int:
    """Bytes in memory: the service's as the system shows them, a family's each page once."""
    if program == "service":
        return psutil.Process(stage.pid(program)).memory_info().rss
    return sum(process.memory_full_info().pss for process in _family(stage, program))
