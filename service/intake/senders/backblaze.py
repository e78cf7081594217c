"""Backblaze B2's event notifications."""

from typing import Any

from quicksilver.domain.event import ObjectEvent
from quicksilver.intake.fields import fields_of, items_of, optional, since_epoch, size_of, text
from quicksilver.intake.notification import Notification, each_of

_FAMILIES = {"ObjectDeleted": "ObjectRemoved", "HideMarkerCreated": "ObjectRemoved"}


def events(tree: Any) -> Notification | None:
    """Backblaze's event notifications; its test event gives no events."""
    found = items_of(fields_of(tree).get("events"))
    if not any(_kind(event).startswith("b2:") for event in found):
        return None
    return each_of([event for event in found if _kind(event) != "b2:TestEvent"], _event)


def _kind(event: Any) -> str:
    return str(fields_of(event).get("eventType"))


def _event(event: dict[str, Any]) -> ObjectEvent:
    family, _, detail = (
        text(event.get("eventType"), "bad-event-name").removeprefix("b2:").partition(":")
    )
    return ObjectEvent(
        name=f"{_FAMILIES.get(family, family)}:{detail}",
        bucket=text(event.get("bucketName"), "bad-bucket"),
        key=text(event.get("objectName"), "bad-key"),
        etag=None,
        version_id=optional(event.get("objectVersionId"), "bad-version"),
        size=size_of(event.get("objectSize")),
        sequencer=None,
        event_at=since_epoch(event.get("eventTimestamp"), 1000),
    )
