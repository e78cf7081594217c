"""The one clock of the service: UTC, aware, and movable in tests."""

from datetime import UTC, datetime, timedelta

_offset = timedelta(0)


def now() -> datetime:
    """The present moment as an aware datetime in UTC, moved by what `advance` added."""
    return datetime.now(UTC) + _offset


def advance(by: timedelta) -> None:
    """Move the clock of this process; tests use it instead of sleeping."""
    global _offset
    _offset += by


def reset() -> None:
    """Back to the machine's own time."""
    global _offset
    _offset = timedelta(0)
