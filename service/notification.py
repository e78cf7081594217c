"""A MinIO or S3 notification body, decoded into frozen events. Pure and strict."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import unquote_plus

import orjson

from service.errors import PayloadError

# Longer keys do not fit a Postgres btree entry; S3 and MinIO end at 1,024 bytes themselves.
_MAX_TEXT = 2000
_MAX_SIZE = 2**63 - 1

# Events that come with `ObjectCreated:*` but bring no new content (MinIO, S3).
_METADATA_ONLY = {
    "ObjectCreated:PutTagging": "tagging",
    "ObjectCreated:DeleteTagging": "tagging",
    "ObjectCreated:PutRetention": "retention",
    "ObjectCreated:PutLegalHold": "legal-hold",
}
_IGNORED_FAMILIES = {
    "ObjectRemoved": "delete",
    "LifecycleExpiration": "lifecycle",
    "LifecycleTransition": "lifecycle",
    "ObjectTransition": "lifecycle",
    "ObjectRestore": "lifecycle",
    "IntelligentTiering": "lifecycle",
    "Replication": "replication",
    "ObjectReplication": "replication",
    "ObjectTagging": "tagging",
    "ObjectAcl": "acl",
    "ObjectAccessed": "read",
    "Scanner": "scanner",
    "ILM": "lifecycle",
    "TestEvent": "test",
    "ReducedRedundancyLostObject": "lost-object",
}


@dataclass(frozen=True, slots=True)
class ObjectEvent:
    """One record of a notification.

    `key` is decoded (S3 form-encodes it), `etag` without quotes, `size` in bytes, `event_at`
    the sender's own time in UTC. Fields that a sender may leave out are None.
    """

    name: str
    bucket: str
    key: str
    etag: str | None
    version_id: str | None
    size: int | None
    sequencer: str | None
    event_at: datetime | None

    @property
    def ignored(self) -> str | None:
        """Why this event can never mean new content, or None if it does."""
        if self.name in _METADATA_ONLY:
            return _METADATA_ONLY[self.name]
        family = self.name.split(":")[0]
        if family == "ObjectCreated":
            return None
        return _IGNORED_FAMILIES.get(family, "other-event")


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
    s3 = _mapping(_mapping(record, "bad-record").get("s3"), "bad-record")
    bucket = _mapping(s3.get("bucket"), "bad-bucket").get("name")
    thing = _mapping(s3.get("object"), "bad-object")
    name = record.get("eventName")
    return ObjectEvent(
        name=_text(name, "bad-event-name").removeprefix("s3:"),
        bucket=_text(bucket, "bad-bucket"),
        key=_key(thing.get("key")),
        etag=_optional(thing.get("eTag"), "bad-etag", strip='"'),
        version_id=_optional(thing.get("versionId"), "bad-version"),
        size=_size(thing.get("size")),
        sequencer=_optional(thing.get("sequencer"), "bad-sequencer"),
        event_at=_time(record.get("eventTime")),
    )


def _mapping(value: Any, problem: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise PayloadError(problem)
    return cast("dict[str, Any]", value)


def _text(value: Any, problem: str) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise PayloadError(problem)
    if len(value.encode("utf-8", "surrogatepass")) > _MAX_TEXT:
        raise PayloadError(problem)
    return value


def _key(value: Any) -> str:
    try:
        return _text(unquote_plus(_text(value, "bad-key"), errors="strict"), "bad-key")
    except UnicodeDecodeError as error:
        raise PayloadError("bad-key") from error


def _optional(value: Any, problem: str, strip: str = "") -> str | None:
    if value is None or value == "":
        return None
    return _text(value, problem).strip(strip or None) or None


def _size(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MAX_SIZE:
        raise PayloadError("bad-size")
    return value


def _time(value: Any) -> datetime | None:
    """The sender's time; one that cannot be read is no reason to lose the event."""
    try:
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None
