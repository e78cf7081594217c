"""The shapes of senders' notifications, told apart by the body alone.

So a body in quarantine can be replayed without knowing its path.
"""

from typing import Any

import orjson

from quicksilver.errors import PayloadError
from quicksilver.intake.fields import fields_of, items_of
from quicksilver.intake.notification import Notification
from quicksilver.intake.senders import (
    aws,
    azure,
    backblaze,
    cloudflare,
    google,
    s3,
    seaweedfs,
)


def decode(body: bytes) -> Notification:
    """Decode a body of any known sender.

    Records that cannot be parsed do not hide the others: they are named in `problems`.
    A test message decodes to no event at all.

    Raises:
        PayloadError: `not-json`; `not-an-event`, with the sender that it looks like behind a colon.
    """
    try:
        tree: Any = orjson.loads(body)
    except ValueError as error:
        raise PayloadError("not-json") from error
    for shape in _SHAPES:
        found = shape(tree)
        if found is not None:
            return found
    sender = _looks_like(tree)
    raise PayloadError(f"not-an-event:{sender}" if sender else "not-an-event")


def _looks_like(tree: Any) -> str | None:
    """The sender that a body looks like, when its shape is not accepted."""
    fields = fields_of(tree)
    if aws.is_sns(fields) or "SubscribeURL" in fields:
        return "sns"
    if "event_name" in fields and "records" in fields:
        return "rustfs"
    if isinstance(fields.get("notification"), list):
        return "argo-events"
    if any(fields_of(e).get("eventSource") == "acs:oss" for e in items_of(fields.get("events"))):
        return "aliyun-oss"
    if fields.get("kind") == "storage#object":
        return "google"
    return "cloudevents" if "specversion" in fields else None


def _sqs_envelope(tree: Any) -> Notification | None:
    return aws.sqs_envelope(tree, decode)


# S3's own after the envelopes, which have `Records` too; then the others.
_SHAPES = (
    _sqs_envelope,
    s3.records,
    s3.test_message,
    aws.eventbridge,
    google.push,
    azure.events,
    cloudflare.messages,
    backblaze.events,
    seaweedfs.change,
)
