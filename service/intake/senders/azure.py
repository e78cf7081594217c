"""Azure Blob Storage, whose events Event Grid pushes, and Event Grid's own handshake."""

import re
from typing import Any

import orjson

from quicksilver.domain.event import ObjectEvent
from quicksilver.errors import PayloadError
from quicksilver.intake.fields import (
    fields_of,
    items_of,
    mapping,
    moment_of,
    optional,
    size_of,
    text,
)
from quicksilver.intake.notification import Notification, each_of

_NAMES = {
    "Microsoft.Storage.BlobCreated": "ObjectCreated:Put",
    "Microsoft.Storage.BlobRenamed": "ObjectCreated:Rename",
    "Microsoft.Storage.BlobDeleted": "ObjectRemoved:Delete",
    "Microsoft.Storage.BlobTierChanged": "LifecycleTransition",
}
_HANDSHAKE = "Microsoft.EventGrid.SubscriptionValidationEvent"
_SUBJECT = re.compile(r"/blobServices/default/containers/([^/]+)/blobs/(.+)", re.DOTALL)


def events(tree: Any) -> Notification | None:
    """Event Grid's events of Blob Storage, and its question whether this address wants them."""
    found = items_of(tree) or [tree]
    for event in found:
        if _kind(event) == _HANDSHAKE:
            return _answer(fields_of(fields_of(event).get("data")).get("validationCode"))
    return each_of(found, _event) if any(_kind(event) in _NAMES for event in found) else None


def _answer(code: Any) -> Notification:
    try:
        reply = {"validationResponse": text(code, "bad-validation-code:azure")}
    except PayloadError as error:
        return Notification(problems=(str(error),))
    return Notification(reply=orjson.dumps(reply))


def _kind(event: Any) -> str:
    # `type` in the schema of CloudEvents, `eventType` in Event Grid's own.
    return str(fields_of(event).get("eventType") or fields_of(event).get("type"))


def _event(event: dict[str, Any]) -> ObjectEvent:
    kind = text(_kind(event), "bad-event-name")
    found = _SUBJECT.fullmatch(text(event.get("subject"), "bad-key", most=4000))
    if found is None:
        raise PayloadError("bad-key:azure")
    data = mapping(event.get("data"), "bad-object")
    return ObjectEvent(
        name=_NAMES.get(kind, kind),
        bucket=text(found[1], "bad-bucket"),
        key=text(found[2], "bad-key"),
        etag=optional(data.get("eTag"), "bad-etag", strip='"'),
        version_id=optional(data.get("blobVersion"), "bad-version"),
        size=size_of(data.get("contentLength")),
        sequencer=optional(data.get("sequencer"), "bad-sequencer"),
        event_at=moment_of(event.get("eventTime") or event.get("time")),
    )
