"""The shapes in which senders tell of objects, told apart by the body alone.

So that what lies in quarantine can be replayed without knowing on which path it came.
"""

from typing import Any, cast

import orjson

from quicksilver.domain.event import ObjectEvent
from quicksilver.errors import PayloadError
from quicksilver.intake.s3 import Notification, mapping, moment_of, optional, parse, size_of, text

# In the words of S3's own notifications: told on both ways, an event is known as the same one.
_CREATED = {
    "PutObject": "Put",
    "POST Object": "Post",
    "CopyObject": "Copy",
    "CompleteMultipartUpload": "CompleteMultipartUpload",
}
_OTHERS = {
    "Object Deleted": "ObjectRemoved:Delete",
    "Object Tags Added": "ObjectTagging:Put",
    "Object Tags Deleted": "ObjectTagging:Delete",
    "Object ACL Updated": "ObjectAcl:Put",
    "Object Restore Initiated": "ObjectRestore:Post",
    "Object Restore Completed": "ObjectRestore:Completed",
    "Object Restore Expired": "ObjectRestore:Delete",
    "Object Storage Class Changed": "LifecycleTransition",
    "Object Access Tier Changed": "IntelligentTiering",
}


def decode(body: bytes) -> Notification:
    """Decode a notification of S3's shape (AWS, MinIO, Ceph) or EventBridge's.

    Raises:
        PayloadError: `not-json` or `not-an-event`.
    """
    # Looked for in the bytes: MinIO's bodies, which are nearly all, are parsed once.
    if b'"detail-type"' in body and (event := _eventbridge(body)) is not None:
        try:
            return Notification((_from_eventbridge(event),))
        except PayloadError as error:
            return Notification((), (str(error),))
    return parse(body)


def _eventbridge(body: bytes) -> dict[str, Any] | None:
    try:
        tree: Any = orjson.loads(body)
    except ValueError:
        return None
    if not isinstance(tree, dict) or "Records" in tree or "detail-type" not in tree:
        return None
    return cast("dict[str, Any]", tree)


def _from_eventbridge(event: dict[str, Any]) -> ObjectEvent:
    kind = text(event["detail-type"], "bad-event-name")
    detail = mapping(event.get("detail"), "bad-record")
    thing = mapping(detail.get("object"), "bad-object")
    if kind == "Object Created":
        reason = optional(detail.get("reason"), "bad-event-name") or "Put"
        name = f"ObjectCreated:{_CREATED.get(reason, reason)}"
    else:
        name = _OTHERS.get(kind, kind)
    return ObjectEvent(
        name=name,
        bucket=text(mapping(detail.get("bucket"), "bad-bucket").get("name"), "bad-bucket"),
        # Not form-encoded, other than in S3's own notifications.
        key=text(thing.get("key"), "bad-key"),
        etag=optional(thing.get("etag"), "bad-etag", strip='"'),
        version_id=optional(thing.get("version-id"), "bad-version"),
        size=size_of(thing.get("size")),
        sequencer=optional(thing.get("sequencer"), "bad-sequencer"),
        event_at=moment_of(event.get("time")),
    )
