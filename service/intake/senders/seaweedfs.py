"""SeaweedFS, whose filer reports files: those below `/buckets/` are objects."""

from typing import Any

from quicksilver.domain.event import ObjectEvent
from quicksilver.errors import PayloadError
from quicksilver.intake.fields import fields_of, mapping, since_epoch, size_of, text
from quicksilver.intake.notification import Notification, each_of

_BUCKETS = "/buckets/"
_CREATED = {"create": "Put", "update": "Put", "rename": "Rename"}


def change(tree: Any) -> Notification | None:
    """A change that the filer's webhook reports; folders are not objects."""
    fields = fields_of(tree)
    if not {"key", "event_type", "message_data"} <= set(fields):
        return None
    entry = fields_of(fields_of(fields["message_data"]).get("new_entry"))
    return Notification() if entry.get("is_directory") else each_of([fields], _event)


def _event(fields: dict[str, Any]) -> ObjectEvent:
    kind = text(fields["event_type"], "bad-event-name")
    path = text(fields["key"], "bad-key")
    message = mapping(fields["message_data"], "bad-record")
    attributes: dict[str, Any] = {}
    if kind != "delete":
        entry = mapping(message.get("new_entry"), "bad-object")
        attributes = mapping(entry.get("attributes") or {}, "bad-object")
    if kind == "rename":
        parent = text(message.get("new_parent_path"), "bad-key")
        path = f"{parent}/{text(message['new_entry'].get('name'), 'bad-key')}"
    if not path.startswith(_BUCKETS):
        raise PayloadError("bad-bucket:seaweedfs")
    bucket, _, key = path.removeprefix(_BUCKETS).partition("/")
    return ObjectEvent(
        name="ObjectRemoved:Delete"
        if kind == "delete"
        else f"ObjectCreated:{_CREATED.get(kind, kind)}",
        bucket=text(bucket, "bad-bucket"),
        key=text(key, "bad-key"),
        etag=None,
        version_id=None,
        size=size_of(attributes.get("file_size")),
        sequencer=None,
        event_at=since_epoch(attributes.get("mtime"), 1),
    )
