"""The one clock of the service: UTC, aware, the database's where there is one, movable in tests.

One host sets a deadline and another judges it. So each process uses Postgres' clock as last read,
plus its own monotonic time since: a jump of a host's clock does no harm.
"""

from datetime import UTC, datetime, timedelta
from time import monotonic

_offset = timedelta(0)
# Postgres' time as last read, and the monotonic time of that reading.
_told: tuple[datetime, float] | None = None


def now() -> datetime:
    """The present moment as an aware datetime in UTC, moved by what `advance` added."""
    if _told is None:
        return datetime.now(UTC) + _offset
    moment, at = _told
    return moment + timedelta(seconds=monotonic() - at) + _offset


def tell(moment: datetime, at: float) -> None:
    """Set the clock: Postgres' time was `moment` at this process's monotonic time `at`."""
    global _told
    _told = moment.astimezone(UTC), at


def advance(by: timedelta) -> None:
    """Move the clock of this process; tests use it instead of sleeping."""
    global _offset
    _offset += by


def reset() -> None:
    """Back to the machine's own time."""
    global _offset, _told
    _offset, _told = timedelta(0), None
