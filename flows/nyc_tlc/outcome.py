"""What became of each month of an ingest, and the table that says so."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum


class MonthOutcome(StrEnum):
    """What became of a month; all but `FAILED` are green."""

    LANDED = "landed"
    UNCHANGED = "unchanged"
    NOT_PUBLISHED = "not published"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class MonthResult:
    """One line of the run's table; `size` in bytes."""

    month: date
    outcome: MonthOutcome
    detail: str = ""
    rows: int | None = None
    size: int | None = None

    def __str__(self) -> str:
        reason = f": {self.detail}" if self.outcome is MonthOutcome.FAILED else ""
        return f"{self.outcome}{reason}"


def as_markdown(dataset: str, year: int, results: Sequence[MonthResult]) -> str:
    """The run's table."""
    lines = [f"### {dataset} {year}", "", "| month | outcome | rows | bytes |"]
    lines.append("| --- | --- | ---: | ---: |")
    for result in results:
        outcome = " ".join(str(result).replace("|", "\\|").split())
        rows = "" if result.rows is None else f"{result.rows:,}"
        size = "" if result.size is None else f"{result.size:,}"
        lines.append(f"| {result.month:%Y-%m} | {outcome} | {rows} | {size} |")
    return "\n".join(lines)
