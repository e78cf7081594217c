"""A dataset's partitions as a calendar: years by months, and a year's months by days. Pure."""

import calendar
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

# Thirty years of months: what is older is a wrong date more often than a partition.
_MOST_ROWS = 30

MONTHS = tuple(calendar.month_abbr[month] for month in range(1, 13))
DAYS = tuple(str(day) for day in range(1, 32))

# Of several partitions in one cell, the state that needs attention most.
_WORST = ("failed", "running", "pending", "waiting", "paused", "warned", "built", "gone")


@dataclass(frozen=True, slots=True)
class Cell:
    """One day or month: a partition's state, or `missing` between partitions that are there.

    `partition` is the name of the one that it stands for, None of several or none; `count` says how
    many are in trouble, where a cell stands for several.
    """

    name: str
    state: str
    label: str
    partition: str | None = None
    count: int = 0


@dataclass(frozen=True, slots=True)
class Calendar:
    """A table of cells; None is a day that does not exist, or lies outside the span."""

    unit: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell | None]]]


def months_of_years(partitions: Iterable[Mapping[str, Any]]) -> Calendar:
    """One row for each year that holds a partition, newest first; each month is a partition."""
    cells = _cells(partitions)
    years = sorted({dt.year for dt in cells}, reverse=True)[:_MOST_ROWS]
    rows = [
        (str(year), [_at(cells, date(year, month, 1)) for month in range(1, 13)]) for year in years
    ]
    return Calendar("month", MONTHS, rows)


def days_of_months(partitions: Iterable[Mapping[str, Any]], year: int) -> Calendar:
    """One row for each month of a year that holds a partition, newest first."""
    cells = _cells(partitions)
    rows: list[tuple[str, Sequence[Cell | None]]] = []
    for month in sorted({dt.month for dt in cells}, reverse=True):
        length = calendar.monthrange(year, month)[1]
        days = [
            _at(cells, date(year, month, day)) if day <= length else None for day in range(1, 32)
        ]
        rows.append((f"{year}-{month:02d}", days))
    return Calendar("day", DAYS, rows)


def rolled_up(months: Sequence[Mapping[str, Any]]) -> Calendar:
    """All years of a dataset that is finer than months: a month says what is wrong in it.

    Rows have `month`, `partitions`, `days`, and how many are `failed`, `waiting`, `running`.
    """
    by_month = {row["month"]: row for row in months}
    if not by_month:
        return Calendar("month", MONTHS, [])
    first, last = min(by_month), max(by_month)
    years = range(last.year, max(first.year, last.year - _MOST_ROWS + 1) - 1, -1)
    rows: list[tuple[str, Sequence[Cell | None]]] = []
    for year in years:
        cells: list[Cell | None] = []
        for month in range(1, 13):
            start = date(year, month, 1)
            if not first <= start <= last:
                cells.append(None)
            else:
                is_end = start in (first, last)
                cells.append(_rolled(by_month.get(start), start, is_end=is_end))
        rows.append((str(year), cells))
    return Calendar("month", MONTHS, rows)


def _rolled(row: Mapping[str, Any] | None, start: date, *, is_end: bool) -> Cell:
    name = f"{start:%Y-%m}"
    if row is None:
        return Cell(name, "missing", f"{name}: nothing landed")
    # The first and the last month need not be whole.
    gaps = 0 if is_end else calendar.monthrange(start.year, start.month)[1] - row["days"]
    state = next((s for s in ("failed", "running", "waiting") if row[s]), "built")
    words = [f"{row['partitions']} partitions"]
    words += [f"{row[s]} {s}" for s in ("failed", "running", "waiting") if row[s]]
    words += [f"{gaps} days without"] if gaps else []
    if state == "built" and gaps:
        state = "gaps"
    count = row[state] if state in ("failed", "running", "waiting") else gaps
    return Cell(name, state, f"{name}: {', '.join(words)}", count=count)


def cell_of(row: Mapping[str, Any]) -> Cell:
    """One partition as a cell."""
    behind = row["generation"] - row["built_generation"]
    build = "newest built" if behind == 0 else f"built {row['built_generation']}"
    state = row["shown_state"]
    said = "built, worth a look" if state == "warned" else state
    label = f"{row['partition']}: {said}, generation {row['generation']}, {build}"
    return Cell(row["partition"], state, label, row["partition"])


def _cells(partitions: Iterable[Mapping[str, Any]]) -> dict[date, Cell]:
    """A cell a day; where a day has several partitions, the worst of them and how many."""
    by_day: dict[date, list[Mapping[str, Any]]] = {}
    for row in partitions:
        by_day.setdefault(row["dt"], []).append(row)
    found: dict[date, Cell] = {}
    for dt, rows in by_day.items():
        if len(rows) == 1:
            found[dt] = cell_of(rows[0])
            continue
        states = [row["shown_state"] for row in rows]
        worst = min(states, key=_WORST.index)
        count = states.count(worst)
        found[dt] = Cell(
            dt.isoformat(), worst, f"{dt}: {count} of {len(rows)} {worst}", count=count
        )
    return found


def _at(cells: Mapping[date, Cell], dt: date) -> Cell | None:
    if dt in cells:
        return cells[dt]
    if min(cells) < dt < max(cells):
        return Cell(dt.isoformat(), "missing", f"{dt}: nothing landed")
    return None
