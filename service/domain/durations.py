"""Spans of time as a person writes them in a declaration."""

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_LONGEST = timedelta(days=3650)


def parse_duration(value: object) -> object:
    """`30s`, `5m`, `1h30m`, `250ms`, `2d` or a number of seconds, as a timedelta.

    Raises:
        ValueError: for anything else.
    """
    if isinstance(value, bool):
        raise ValueError(f"{value!r} is not a duration: write 30s, 5m, 1h30m or 2d")  # noqa: TRY004
    if not isinstance(value, int | float | str):
        return value
    if isinstance(value, int | float):
        return _span(value, value)
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", value, re.ASCII)
    if not parts or "".join(number + unit for number, unit in parts) != value.replace(" ", ""):
        raise ValueError(f"{value!r} is not a duration: write 30s, 5m, 1h30m or 2d")
    return _span(sum(float(number) * _UNITS[unit] for number, unit in parts), value)


def _span(seconds: float, value: object) -> timedelta:
    try:
        span = timedelta(seconds=seconds)
    except (OverflowError, ValueError):
        span = timedelta.max
    # Beyond, adding it to a date leaves the calendar.
    if not timedelta(0) <= span <= _LONGEST:
        raise ValueError(f"{value!r} is not a duration between 0 s and 3650 d")
    return span


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
