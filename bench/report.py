"""Figures, the machine they were taken on, the table, and `bench/results.json`."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).with_name("results.json")

_PACKAGES = ("quicksilver", "prefect", "dbt-core", "dbt-postgres", "fastapi", "uvicorn", "pyarrow")


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table: what was measured, what it is measured against, what was asked for.

    `factor` is the ratio to the baseline, in the direction that the target speaks of.
    """

    figure: str
    value: float
    unit: str
    target: str
    is_reached: bool | None
    baseline: str = ""
    baseline_value: float | None = None
    factor: float | None = None
    samples: int = 1
    note: str = ""
    # How noisy it was: half of the samples lie within this part of the median.
    spread: float | None = None


@dataclass(slots=True)
class Outcome:
    """What one part of the bench found: its lines, and the raw numbers behind them."""

    figures: list[Figure] = field(default_factory=list[Figure])
    raw: dict[str, Any] = field(default_factory=dict[str, Any])


def percentile(values: Sequence[float], percent: float) -> float:
    """By the nearest rank: never a value that was not measured."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100).__int__() - 1)]


def median(values: Sequence[float]) -> float:
    """The middle, or the mean of the two middle ones."""
    return statistics.median(values)


def spread(values: Sequence[float]) -> float | None:
    """The middle half's width as a part of the median: 0.1 means that half lay within a tenth."""
    if len(values) < 4 or not (middle := median(values)):
        return None
    low, _, high = statistics.quantiles(values, n=4)
    return (high - low) / middle


def machine() -> dict[str, Any]:
    """Cores, memory, processor and versions; the load before the bench began."""
    model = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    return {
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "processor": model,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
        "versions": {name: version(name) for name in _PACKAGES},
    }


def show(figures: Sequence[Figure], console: Console) -> None:
    """Print the table."""
    table = Table(title="make bench")
    for name, justify in (
        ("figure", "left"), ("measured", "right"), ("target", "left"), ("", "left"),
        ("baseline", "left"), ("factor", "right"), ("n", "right"), ("noise", "right"),
    ):  # fmt: skip
        table.add_column(name, justify=justify)  # pyright: ignore[reportArgumentType]
    for one in figures:
        baseline = "" if one.baseline_value is None else f"{_number(one.baseline_value)} {one.unit}"
        table.add_row(
            one.figure,
            f"{_number(one.value)} {one.unit}",
            one.target,
            {True: "reached", False: "missed", None: ""}[one.is_reached],
            f"{one.baseline}: {baseline}" if baseline else one.baseline,
            "" if one.factor is None else f"{one.factor:.2f}",
            str(one.samples),
            "" if one.spread is None else f"{100 * one.spread:.0f} %",
        )
    console.print(table)
    for one in figures:
        if one.note:
            console.print(f"{one.figure}: {one.note}", highlight=False, markup=False)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def write(
    outcomes: dict[str, Outcome], host: dict[str, Any], seconds: float, *, quick: bool
) -> None:
    """Write `results.json`; parts that this run left out keep what an earlier one found."""
    try:
        known: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    parts: dict[str, Any] = known.get("parts", {}) if known.get("quick", quick) == quick else {}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    for name, outcome in outcomes.items():
        parts[name] = {
            "at": now,
            "load_before": host["load_before"],
            "figures": [asdict(one) for one in outcome.figures],
            "raw": _rounded(outcome.raw),
        }
    document = {
        "at": now,
        "quick": quick,
        "seconds": round(seconds),
        "machine": host,
        "parts": parts,
    }
    RESULTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {str(k): _rounded(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(v) for v in value]
    return value
