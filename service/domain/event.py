"""One record of a store's notification, from any sender."""

from dataclasses import dataclass
from datetime import datetime

from quicksilver.domain.reasons import Ignored

# Events that come with `ObjectCreated:*` but bring no new content (MinIO, S3).
_METADATA_ONLY = {
    "ObjectCreated:PutTagging": Ignored.TAGGING,
    "ObjectCreated:DeleteTagging": Ignored.TAGGING,
    "ObjectCreated:PutRetention": Ignored.RETENTION,
    "ObjectCreated:PutLegalHold": Ignored.LEGAL_HOLD,
}


_IGNORED_FAMILIES = {
    "ObjectRemoved": Ignored.DELETE,
    "LifecycleExpiration": Ignored.LIFECYCLE,
    "LifecycleTransition": Ignored.LIFECYCLE,
    "ObjectTransition": Ignored.LIFECYCLE,
    "ObjectRestore": Ignored.LIFECYCLE,
    "IntelligentTiering": Ignored.LIFECYCLE,
    "ObjectLifecycle": Ignored.LIFECYCLE,
    "Replication": Ignored.REPLICATION,
    "ObjectReplication": Ignored.REPLICATION,
    "ObjectTagging": Ignored.TAGGING,
    "ObjectAcl": Ignored.ACL,
    "ObjectAccessed": Ignored.READ,
    "Scanner": Ignored.SCANNER,
    "ILM": Ignored.LIFECYCLE,
    "TestEvent": Ignored.TEST,
    "ReducedRedundancyLostObject": Ignored.LOST_OBJECT,
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
    # The key as it was written, if it is unclear whether the sender encodes keys.
    spelling: str | None = None

    @property
    def ignored(self) -> Ignored | None:
        """Why this event can never mean new content, or None if it does."""
        if self.name in _METADATA_ONLY:
            return _METADATA_ONLY[self.name]
        family = self.name.split(":")[0]
        # Ceph's word for an object that came from another zone: new content here.
        if family == "ObjectCreated" or self.name == "ObjectSynced:Create":
            return None
        return _IGNORED_FAMILIES.get(family, Ignored.OTHER_EVENT)
