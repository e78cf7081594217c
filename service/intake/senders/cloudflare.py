"""Cloudflare R2, whose notifications lie in a queue until a consumer posts them on."""

from typing import Any

from quicksilver.domain.event import ObjectEvent
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
    "PutObject": "ObjectCreated:Put",
    "CopyObject": "ObjectCreated:Copy",
    "CompleteMultipartUpload": "ObjectCreated:CompleteMultipartUpload",
    "DeleteObject": "ObjectRemoved:Delete",
    "LifecycleDeletion": "LifecycleExpiration:Delete",
}


def messages(tree: Any) -> Notification | None:
    """Messages of Cloudflare's queue, posted on by its consumer: one, or a list of them."""
    found = items_of(tree) or [tree]
    if not any({"action", "bucket", "object"} <= set(fields_of(message)) for message in found):
        return None
    return each_of(found, _event)


def _event(message: dict[str, Any]) -> ObjectEvent:
    action = text(message.get("action"), "bad-event-name")
    thing = mapping(message.get("object"), "bad-object")
    return ObjectEvent(
        name=_NAMES.get(action, action),
        bucket=text(message.get("bucket"), "bad-bucket"),
        key=text(thing.get("key"), "bad-key"),
        etag=optional(thing.get("eTag"), "bad-etag", strip='"'),
        version_id=None,
        size=size_of(thing.get("size")),
        sequencer=None,
        event_at=moment_of(message.get("eventTime")),
    )
