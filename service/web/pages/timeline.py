"""The way from PUT to silver as a bar: which step took how long. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

# What ends at each moment, in order, and what goes on until then; at the first the clock starts.
STEPS = (
    ("put_at", "PUT", "the object was put", ""),
    ("received_at", "received", "its event was recorded", "its event is recorded"),
    ("dispatched_at", "dispatched", "Prefect was asked for a run", "it waits for its turn"),
    ("started_at", "started", "the flow began", "a worker takes the run up"),
    ("loaded_at", "loaded", "bronze was read and loaded", "bronze is read and loaded"),
    ("published_at", "committed", "silver changed", "dbt builds silver"),
)

# Two milliseconds beside ten seconds must still be seen.
_LEAST = 1.2


@dataclass(frozen=True, slots=True)
class Moment:
    """One step: when it was reached and how long it took; places on the bar in percent."""

    name: str
    meaning: str
    at: datetime | None
    seconds: float | None
    left: float
    width: float
    is_open: bool


@dataclass(frozen=True, slots=True)
class Way:
    """All steps, and the seconds from the first to the last one reached."""

    moments: Sequence[Moment]
    seconds: float | None
    is_open: bool


def way(row: Mapping[str, Any], now: datetime, *, is_active: bool) -> Way:
    """The way of a build, or of a partition that has none yet.

    While it goes on, the step that is under way is open and lasts until `now`.
    """
    times = [row.get(field) for field, *_ in STEPS]
    if times[5] is None and "published_at" not in row:
        times[5] = row.get("built_at")
    reached = [index for index, at in enumerate(times) if at is not None]
    current = reached[-1] + 1 if reached and is_active else len(STEPS)
    lengths: dict[int, float] = {}
    previous: datetime | None = None
    for index, at in enumerate(times):
        end = now if index == current else at
        if previous is not None and end is not None:
            # Clocks of two machines: an event may seem to come before its PUT.
            lengths[index] = max(0.0, (end - previous).total_seconds())
        previous = at or previous
    total = sum(lengths.values())
    shown = {i: max(_LEAST, 100 * s / total if total else 0) for i, s in lengths.items()}
    scale = 100 / sum(shown.values()) if shown else 1
    moments: list[Moment] = []
    left = 0.0
    for index, (_, name, done, doing) in enumerate(STEPS):
        width = shown.get(index, 0.0) * scale
        is_open = index == current
        at = times[index]
        moments.append(
            Moment(
                name,
                doing if at is None and doing else done,
                at,
                lengths.get(index),
                round(left, 3),
                round(width, 3),
                is_open,
            )
        )
        left += width
    return Way(moments, total if lengths else None, current < len(STEPS))
