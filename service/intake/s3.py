"""A MinIO or S3 notification body, decoded into frozen events. Pure and strict."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import unquote_plus

import orjson

from quicksilver.domain.event import ObjectEvent
from quicksilver.errors import PayloadError

# Longer keys do not fit a Postgres btree entry; S3 and MinIO end at 1,024 bytes themselves.
_MAX_TEXT = 2000
_MAX_SIZE = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Notification:
    """A decoded body: the records understood, and why others were not."""

    events: tuple[ObjectEvent, ...]
    problems: tuple[str, ...] = ()


def parse(body: bytes) -> Notification:
    """Decode a notification body.

    Records that cannot be understood do not hide their neighbours: they are named in `problems`.
    An S3 test event and an empty `Records` list decode to no event at all.

    Raises:
        PayloadError: `not-json` or `not-an-event`.
    """
    try:
        tree: Any = orjson.loads(body)
    except ValueError as error:
        raise PayloadError("not-json") from error
    if not isinstance(tree, dict):
        raise PayloadError("not-an-event")
    document = cast("dict[str, Any]", tree)
    if document.get("Event") == "s3:TestEvent":
        return Notification(())
    records = document.get("Records")
    if not isinstance(records, list):
        raise PayloadError("not-an-event")
    events: list[ObjectEvent] = []
    problems: list[str] = []
    for record in cast("list[Any]", records):
        try:
            events.append(_record(record))
        except PayloadError as error:
            problems.append(str(error))
    return Notification(tuple(events), tuple(problems))


def _record(record: Any) -> ObjectEvent:
    s3 = mapping(mapping(record, "bad-record").get("s3"), "bad-record")
    bucket = mapping(s3.get("bucket"), "bad-bucket").get("name")
    thing = mapping(s3.get("object"), "bad-object")
    name, key = record.get("eventName"), thing.get("key")
    return ObjectEvent(
        name=text(name, "bad-event-name").removeprefix("s3:"),
        bucket=text(bucket, "bad-bucket"),
        # Ceph alone sends the key as it is.
        key=text(key, "bad-key") if record.get("eventSource") == "ceph:s3" else _key(key),
        etag=optional(thing.get("eTag"), "bad-etag", strip='"'),
        version_id=optional(thing.get("versionId"), "bad-version"),
        size=size_of(thing.get("size")),
        sequencer=optional(thing.get("sequencer"), "bad-sequencer"),
        event_at=moment_of(record.get("eventTime")),
    )


def mapping(value: Any, problem: str) -> dict[str, Any]:
    """A JSON object, or `PayloadError(problem)`."""
    if not isinstance(value, dict):
        raise PayloadError(problem)
    return cast("dict[str, Any]", value)


def text(value: Any, problem: str, *, most: int = _MAX_TEXT) -> str:
    """A string of at most `most` bytes that Postgres can hold, or `PayloadError(problem)`."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise PayloadError(problem)
    if len(value.encode("utf-8", "surrogatepass")) > most:
        raise PayloadError(problem)
    return value


def _key(value: Any) -> str:
    try:
        # Three times as long while it is encoded: `%F0` for one byte.
        encoded = text(value, "bad-key", most=3 * _MAX_TEXT)
        return text(unquote_plus(encoded, errors="strict"), "bad-key")
    except UnicodeDecodeError as error:
        raise PayloadError("bad-key") from error


def optional(value: Any, problem: str, strip: str = "") -> str | None:
    """As `text`; what is absent or empty is None."""
    if value is None or value == "":
        return None
    found = text(value, problem)
    return (found.strip(strip) if strip else found) or None


def size_of(value: Any) -> int | None:
    """Bytes, or None where the sender says nothing."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MAX_SIZE:
        raise PayloadError("bad-size")
    return value


def moment_of(value: Any) -> datetime | None:
    """The sender's time; one that cannot be read is no reason to lose the event."""
    try:
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None
