"""AWS' formats beside S3's own notifications: EventBridge's events and the envelopes of SQS."""

from collections.abc import Callable
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

# S3's own names of events, so that an event sent in both formats is recognized as one.
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


def eventbridge(tree: Any) -> Notification | None:
    """The event of an API destination, or None for any other body."""
    return each_of([tree], _event) if "detail-type" in fields_of(tree) else None


def _event(event: dict[str, Any]) -> ObjectEvent:
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
        # Not form-encoded, unlike in S3's own notifications.
        key=text(thing.get("key"), "bad-key"),
        etag=optional(thing.get("etag"), "bad-etag", strip='"'),
        version_id=optional(thing.get("version-id"), "bad-version"),
        size=size_of(thing.get("size")),
        sequencer=optional(thing.get("sequencer"), "bad-sequencer"),
        event_at=moment_of(event.get("time")),
    )


def sqs_envelope(tree: Any, read: Callable[[bytes], Notification]) -> Notification | None:
    """What lies in the messages that a poller of SQS (Lambda's, say) passes on, or None."""
    messages = items_of(fields_of(tree).get("Records"))
    if not any(_is_message(message) for message in messages):
        return None
    inside = [_inside(message, read) for message in messages]
    return Notification(
        tuple(event for each in inside for event in each.events),
        tuple(problem for each in inside for problem in each.problems),
    )


def _inside(message: Any, read: Callable[[bytes], Notification]) -> Notification:
    body = fields_of(message).get("body")
    if not isinstance(body, str):
        return Notification(problems=("bad-record:sqs",))
    try:
        return read(body.encode("utf-8", "surrogatepass"))
    except PayloadError as error:
        return Notification(problems=(str(error),))


def _is_message(record: Any) -> bool:
    return fields_of(record).get("eventSource") == "aws:sqs"


def sns_text(body: bytes) -> bytes:
    """The body inside SNS' envelope, if there is one: queues hold messages with it."""
    try:
        tree: Any = orjson.loads(body)
    except ValueError:
        return body
    message = fields_of(tree).get("Message") if is_sns(tree) else None
    return message.encode("utf-8", "surrogatepass") if isinstance(message, str) else body


def is_sns(tree: Any) -> bool:
    """Whether a body is a message of Amazon SNS."""
    return {"Type", "TopicArn", "Message"} <= set(fields_of(tree))
