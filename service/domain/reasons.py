"""What a quarantine's reason code means, and what to do about it: for the page and the shell."""

_MEANINGS = {
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

# Behind a reason's colon: the sender that a body looks like, and what to do with that one.
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
    code, _, sender = reason.removeprefix("quarantined:").partition(":")
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
    return _MEANINGS.get(code, "")
