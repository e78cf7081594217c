"""S3's own notifications, as AWS, MinIO, RustFS, Ceph, NooBaa, Versity and others write them."""

from typing import Any
from urllib.parse import unquote_plus

from quicksilver.domain.event import ObjectEvent
from quicksilver.errors import PayloadError
from quicksilver.intake.fields import (
    MAX_TEXT,
    fields_of,
    items_of,
    mapping,
    moment_of,
    optional,
    size_of,
    text,
)
from quicksilver.intake.notification import Notification

# Senders that encode keys like an HTML form, as AWS documents it, and senders that do not encode.
# All others are unclear: AWS and Versity both call themselves aws:s3.
_ENCODED = {"minio:s3", "rustfs:s3"}
_CEPH = "ceph:s3"
_PLAIN = {_CEPH, "noobaa:s3"}
# Senders whose records follow S3's documentation: their problems need no sender's name.
_STANDARD = {"aws", "minio"}


def records(tree: Any) -> Notification | None:
    """The events of a body's `Records`, or None where it has none."""
    found = fields_of(tree).get("Records")
    if not isinstance(found, list):
        return None
    events: list[ObjectEvent] = []
    problems: list[str] = []
    for record in items_of(found):
        try:
            events.append(_event(record))
        except PayloadError as error:
            problems.append(_named(str(error), fields_of(record)))
    return Notification(tuple(events), tuple(problems))


def test_message(tree: Any) -> Notification | None:
    """What a store sends when its notifications are set up: neither an event nor a problem."""
    if tree == "test notification":  # NooBaa's
        return Notification()
    return Notification() if fields_of(tree).get("Event") == "s3:TestEvent" else None


def _named(problem: str, fields: dict[str, Any]) -> str:
    """A problem's code, followed by its sender if that is known to deviate."""
    if "cos" in fields:
        return f"{problem}:tencent-cos"
    source = fields.get("eventSource")
    sender = source.removesuffix(":s3") if isinstance(source, str) else ""
    is_word = sender.isascii() and sender.isalnum() and len(sender) <= 20
    return f"{problem}:{sender}" if is_word and sender not in _STANDARD else problem


def _event(record: Any) -> ObjectEvent:
    s3 = mapping(mapping(record, "bad-record").get("s3"), "bad-record")
    bucket = mapping(s3.get("bucket"), "bad-bucket").get("name")
    thing = mapping(s3.get("object"), "bad-object")
    source = str(record.get("eventSource"))
    key, spelling = _key(thing.get("key"), source)
    return ObjectEvent(
        name=text(record.get("eventName"), "bad-event-name").removeprefix("s3:"),
        bucket=text(bucket, "bad-bucket"),
        key=key,
        etag=optional(thing.get("eTag"), "bad-etag", strip='"'),
        version_id=optional(thing.get("versionId"), "bad-version"),
        size=size_of(thing.get("size")),
        # Ceph gives each topic's message of one event a sequencer of its own.
        sequencer=None if source == _CEPH else optional(thing.get("sequencer"), "bad-sequencer"),
        event_at=moment_of(record.get("eventTime")),
        spelling=spelling,
    )


def _key(value: Any, source: str) -> tuple[str, str | None]:
    """The key, and its other reading where the sender's encoding is unclear."""
    if source in _PLAIN:
        return text(value, "bad-key"), None
    # Three times as long while it is encoded: `%F0` for one byte.
    written = text(value, "bad-key", most=3 * MAX_TEXT)
    is_doubtful = (
        source not in _ENCODED and len(written.encode("utf-8", "surrogatepass")) <= MAX_TEXT
    )
    try:
        key = text(unquote_plus(written, errors="strict"), "bad-key")
    except (UnicodeDecodeError, PayloadError) as error:
        if is_doubtful:
            return written, None
        raise PayloadError("bad-key") from error
    return key, written if is_doubtful and written != key else None
