"""A dataset's partitions as a calendar: years by months, or months by days. Pure."""

import calendar
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from quicksilver.support.postgres import Row

# Thirty years of months: what is older is a wrong date more often than a partition.
_MOST_ROWS = 30

MONTHS = tuple(calendar.month_abbr[month] for month in range(1, 13))
DAYS = tuple(str(day) for day in range(1, 32))


@dataclass(frozen=True, slots=True)
class Cell:
    """One day or month: a partition's state, or `missing` between partitions that are there."""

    name: str
    state: str
    generation: int
    built_generation: int

    @property
    def label(self) -> str:
        """What the cell says to those who do not see its colour."""
        if self.state == "missing":
            return f"{self.name}: nothing landed"
        behind = self.generation - self.built_generation
        build = "newest built" if behind == 0 else f"built {self.built_generation}"
        return f"{self.name}: {self.state}, generation {self.generation}, {build}"


@dataclass(frozen=True, slots=True)
class Calendar:
    """A table of cells; None is a day that does not exist, or lies outside the span."""

    unit: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell | None]]]


def months_of_years(partitions: Iterable[Row]) -> Calendar:
    """One row for each year that holds a partition, newest first."""
    cells = {row["dt"]: _cell(row) for row in partitions}
    years = sorted({dt.year for dt in cells}, reverse=True)[:_MOST_ROWS]
    rows = [
        (str(year), [_at(cells, date(year, month, 1)) for month in range(1, 13)]) for year in years
    ]
    return Calendar("month", MONTHS, rows)


def days_of_months(partitions: Iterable[Row], year: int) -> Calendar:
    """One row for each month of a year that holds a partition, newest first."""
    cells = {row["dt"]: _cell(row) for row in partitions}
    rows: list[tuple[str, Sequence[Cell | None]]] = []
    for month in sorted({dt.month for dt in cells}, reverse=True):
        length = calendar.monthrange(year, month)[1]
        days = [
            _at(cells, date(year, month, day)) if day <= length else None for day in range(1, 32)
        ]
        rows.append((f"{year}-{month:02d}", days))
    return Calendar("day", DAYS, rows)


def _cell(row: Row) -> Cell:
    return Cell(row["partition"], row["shown_state"], row["generation"], row["built_generation"])


def _at(cells: dict[date, Cell], dt: date) -> Cell | None:
    if dt in cells:
        return cells[dt]
    inside = min(cells) < dt < max(cells)
    return Cell(dt.isoformat(), "missing", 0, 0) if inside else None
