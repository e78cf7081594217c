"""How a build ended: what it published, how long each step took, or why it did not."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from quicksilver.build import dbt
from quicksilver.errors import QuicksilverError
from quicksilver.ledger.rows import BegunBuild


@dataclass(frozen=True, slots=True)
class BuildResult:
    """What a build published; seconds in `timings`."""

    rows_bronze: int
    rows_silver: int
    rows_rejected: int
    rejected_by_reason: dict[str, int]
    timings: dict[str, float]
    new_columns: list[str]
    dbt: list[dbt.NodeResult]
    loaded_at: datetime
    warnings: list[str] = field(default_factory=list)
    # Files that `on_bad_file: skip` left out: `name` and `reason` of each.
    skipped: list[dict[str, str]] = field(default_factory=list)
    # How many partitions the timings and dbt's results are of.
    together: int = 1

    def details(self) -> dict[str, Any]:
        """For the ledger: everything but the counts, as JSON takes it."""
        return {
            "rejected_by_reason": self.rejected_by_reason,
            "timings": self.timings,
            "together": self.together,
            "new_columns": self.new_columns,
            "warnings": self.warnings,
            "skipped": self.skipped,
            "dbt": [
                {
                    k: v
                    for k, v in asdict(node).items()
                    if k in ("name", "kind", "status", "seconds", "rows")
                }
                for node in self.dbt
            ],
        }


BuildOutcome: TypeAlias = BuildResult | QuicksilverError
Tell: TypeAlias = Callable[[BegunBuild, BuildOutcome], Awaitable[None]]
Waits: TypeAlias = Callable[[BegunBuild, str], Awaitable[None]]


async def waits_in_silence(_: BegunBuild, __: str) -> None:
    """For callers whom nobody asks why a build takes long."""


class Stopwatch:
    """Seconds of each step, and of all."""

    def __init__(self) -> None:
        self.timings: dict[str, float] = {}
        self._start = self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """A step is over."""
        now = time.perf_counter()
        self.timings[name] = round(now - self._last, 4)
        self.timings["total"] = round(now - self._start, 4)
        self._last = now
