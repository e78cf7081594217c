"""Google Cloud Storage, whose notifications Pub/Sub pushes."""

import base64
from typing import Any

import orjson

from quicksilver.domain.event import ObjectEvent
from quicksilver.intake.fields import fields_of, moment_of, optional, size_of, text
from quicksilver.intake.notification import Notification, each_of

_NAMES = {
    "OBJECT_FINALIZE": "ObjectCreated:Put",
    "OBJECT_DELETE": "ObjectRemoved:Delete",
    "OBJECT_ARCHIVE": "ObjectRemoved:DeleteMarkerCreated",
    "OBJECT_METADATA_UPDATE": "ObjectTagging:Put",
}


def push(tree: Any) -> Notification | None:
    """A push of Pub/Sub with a notification of Cloud Storage."""
    message = fields_of(fields_of(tree).get("message"))
    attributes = fields_of(message.get("attributes"))
    if "objectId" not in attributes:
        return None
    return each_of([attributes], lambda one: _event(one, _resource(message.get("data"))))


def _event(fields: dict[str, Any], resource: dict[str, Any]) -> ObjectEvent:
    kind = text(fields.get("eventType"), "bad-event-name")
    generation = optional(fields.get("objectGeneration"), "bad-version")
    return ObjectEvent(
        name=_NAMES.get(kind, kind),
        bucket=text(fields.get("bucketId"), "bad-bucket"),
        key=text(fields["objectId"], "bad-key"),
        etag=_hex(resource.get("md5Hash")),
        version_id=generation,
        size=size_of(resource.get("size")),
        sequencer=generation,
        event_at=moment_of(fields.get("eventTime")),
    )


def _resource(data: Any) -> dict[str, Any]:
    """The object as Google's API describes it; nothing where the topic sends attributes alone."""
    try:
        return fields_of(orjson.loads(base64.b64decode(data, validate=True)))
    except (TypeError, ValueError):
        return {}


def _hex(md5: Any) -> str | None:
    """An MD5 in base64 as the ETag that a listing shows."""
    try:
        return base64.b64decode(md5, validate=True).hex() or None
    except (TypeError, ValueError):
        return None
