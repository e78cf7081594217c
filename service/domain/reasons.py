"""Reason codes: why an event did or did not fire, what each means, and what to do about it."""

from enum import StrEnum


class Reason(StrEnum):
    """Why an event did or did not fire.

    `ignored` and `quarantined` are families: the part after the colon says why.
    """

    FIRED = "fired"
    SETTLING = "settling"
    UNCHANGED = "unchanged"
    DUPLICATE = "duplicate"
    SUPERSEDED = "superseded"
    PAUSED = "paused"
    IGNORED = "ignored"
    QUARANTINED = "quarantined"
    FAILED = "failed"

    @property
    def meaning(self) -> str:
        """A sentence for people."""
        return _MEANINGS[self]

    @property
    def is_open(self) -> bool:
        """Whether the event raised its partition's generation, and no build has decided yet."""
        return self in (Reason.SETTLING, Reason.PAUSED)

    def because(self, why: str) -> str:
        """The code of one of a family: `ignored:delete`."""
        return f"{self}:{why}"

    @classmethod
    def of(cls, code: str) -> "Reason":
        """The reason of a code, or its family.

        Raises:
            KeyError: the code is unknown.
        """
        return _BY_CODE[code.partition(":")[0]]


_MEANINGS = {
    Reason.FIRED: "Its version was in the manifest of a build that Prefect was asked for.",
    Reason.SETTLING: "Its partition waits to be ready, or to be dispatched.",
    Reason.UNCHANGED: "The same content was there already: nothing to build.",
    Reason.DUPLICATE: "It was told before: it counts as one more delivery of the first.",
    Reason.SUPERSEDED: (
        "When a build read bronze, this version was not there: overwritten or deleted."
    ),
    Reason.PAUSED: "Its dataset is paused: `quicksilver resume` builds what accumulated.",
    Reason.IGNORED: "It is not new content of a declared dataset.",
    Reason.QUARANTINED: "It could not be parsed, and is kept as it came.",
    Reason.FAILED: "Its build failed, and the attempts are used up: see the partition's error.",
}
_BY_CODE = {reason.value: reason for reason in Reason}


class Ignored(StrEnum):
    """Why an event is not new content of a declared dataset."""

    # By the event itself.
    TAGGING = "tagging"
    RETENTION = "retention"
    LEGAL_HOLD = "legal-hold"
    DELETE = "delete"
    LIFECYCLE = "lifecycle"
    REPLICATION = "replication"
    ACL = "acl"
    READ = "read"
    SCANNER = "scanner"
    TEST = "test"
    LOST_OBJECT = "lost-object"
    OTHER_EVENT = "other-event"
    CANARY = "canary"
    # By its key: for a key without a partition, the most telling reason comes last.
    UNKNOWN_BUCKET = "unknown-bucket"
    OUTSIDE_DATASETS = "outside-datasets"
    NO_PARTITION = "no-partition"
    BAD_DATE = "bad-date"
    OTHER_FILE = "other-file"


_OF_QUARANTINE = {
    "not-json": (
        "It is not JSON: something other than MinIO or S3 posts here with an accepted token. Find"
        " the sender by its address, then discard it."
    ),
    "not-an-event": (
        "It is JSON, but no notification that we know. Find the sender by its address; if it told"
        " of objects, `quicksilver reconcile` finds them."
    ),
    "refused-by-ledger": (
        "It was understood, and the ledger could not hold it. Replay it after an upgrade; until"
        " then `quicksilver reconcile` finds its object."
    ),
}

# After a reason's colon: the sender that a body looks like, and what to do about it.
_SENDERS = {
    "sns": (
        "It looks like Amazon SNS: subscribe `/events/sns`, which checks SNS' signatures, and name"
        " the topic in QUICKSILVER_SNS_TOPICS; or switch on raw message delivery."
    ),
    "sqs": "It looks like Amazon SQS, without the message: `quicksilver consume sqs` reads queues.",
    "rustfs": (
        "It looks like RustFS: some of its releases send an empty key for multipart uploads, or"
        " write fields in snake_case. Upgrade RustFS; until then sweeps find the objects."
    ),
    "argo-events": (
        "It looks like Argo Events, which wraps what MinIO sends: point MinIO's webhook straight"
        " here instead (`quicksilver init`)."
    ),
    "aliyun-oss": (
        "It looks like Alibaba's OSS, whose events are not read: sweeps find the objects."
    ),
    "tencent-cos": (
        "It looks like Tencent's COS, whose events are not read: sweeps find the objects."
    ),
    "google": (
        "It looks like Google Cloud Storage without Pub/Sub's envelope: have the subscription push"
        " wrapped messages."
    ),
    "azure": "It looks like Azure Event Grid: its event names no blob, or its handshake no code.",
    "seaweedfs": "It looks like SeaweedFS: only what lies below /buckets/ is an object.",
    "cloudevents": (
        "It looks like a CloudEvent, which this sender's store can send in a shape of its own: for"
        " Azure choose Event Grid's schema, for AWS an API destination."
    ),
}


def meaning_of(reason: str) -> str:
    """A sentence or two for a reason code; empty for one that is not known here."""
    code, _, sender = reason.removeprefix(Reason.QUARANTINED.because("")).partition(":")
    return " ".join(filter(None, (_meaning(code), _SENDERS.get(sender) or _unknown(sender))))


def _unknown(sender: str) -> str:
    return f"Its sender calls itself {sender}." if sender else ""


def _meaning(code: str) -> str:
    if code.startswith("bad-"):
        field = code.removeprefix("bad-").replace("-", " ")
        return (
            f"A record's {field} is missing, or not as S3 writes it; its other records were taken."
            " Replay it after an upgrade that understands it; until then `quicksilver reconcile`"
            " finds its object."
        )
    return _OF_QUARANTINE.get(code, "")
