"""A notification's fields, read strictly: what Postgres cannot hold is refused here."""

from datetime import UTC, datetime
from typing import Any, cast

from quicksilver.errors import PayloadError

# Longer keys do not fit a Postgres btree entry; S3 and MinIO end at 1,024 bytes themselves.
MAX_TEXT = 2000
_MAX_SIZE = 2**63 - 1


def fields_of(value: Any) -> dict[str, Any]:
    """A JSON object's fields; empty for any other value."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def items_of(value: Any) -> list[Any]:
    """A JSON array's items; empty for any other value."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def mapping(value: Any, problem: str) -> dict[str, Any]:
    """A JSON object, or `PayloadError(problem)`."""
    if not isinstance(value, dict):
        raise PayloadError(problem)
    return cast("dict[str, Any]", value)


def text(value: Any, problem: str, *, most: int = MAX_TEXT) -> str:
    """A string of at most `most` bytes that Postgres can hold, or `PayloadError(problem)`."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise PayloadError(problem)
    if len(value.encode("utf-8", "surrogatepass")) > most:
        raise PayloadError(problem)
    return value


def optional(value: Any, problem: str, strip: str = "") -> str | None:
    """As `text`; what is absent or empty is None."""
    if value is None or value == "":
        return None
    found = text(value, problem)
    return (found.strip(strip) if strip else found) or None


def size_of(value: Any) -> int | None:
    """Bytes, or None where the sender says nothing. Google and some others write text."""
    if value is None:
        return None
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MAX_SIZE:
        raise PayloadError("bad-size")
    return value


def moment_of(value: Any) -> datetime | None:
    """The sender's time; an unreadable one does not lose the event."""
    try:
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None


def since_epoch(value: Any, per_second: int) -> datetime | None:
    """The sender's time as a count of parts of a second since 1970; None for any other value."""
    try:
        return datetime.fromtimestamp(int(value) / per_second, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None
