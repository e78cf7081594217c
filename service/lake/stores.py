"""What the stores differ in: how they tell, how loudly, and what is left to their own settings."""

from collections.abc import Callable
from dataclasses import dataclass

from quicksilver.settings import Settings


@dataclass(frozen=True, slots=True)
class Store:
    """One kind of store.

    `lanes` are the ways on which a canary must come: `fast` is sent once, `durable` again until it
    was taken. `instructions` gives, for a receiver's address, the lines that its administrator
    needs for what `quicksilver init` does not set itself; tokens, which are secrets, are not in it.
    """

    title: str
    lanes: tuple[str, ...]
    instructions: Callable[[str], str] | None = None


def _with_token(receiver_url: str, lane: str) -> str:
    """The address for senders that know no header of their own: the token as a password."""
    scheme, _, address = receiver_url.partition("://")
    return f"{scheme}://quicksilver:TOKEN@{address}/events/s3?lane={lane}"


def _versity(receiver_url: str) -> str:
    return (
        "start the gateway with this setting, while the service runs (it sends a test first):\n"
        f"  VGW_EVENT_WEBHOOK_URL='{_with_token(receiver_url, 'fast')}'"
    )


def _rustfs(receiver_url: str) -> str:
    lines = [
        line
        for lane in ("FAST", "DURABLE")
        for line in (
            f"RUSTFS_NOTIFY_WEBHOOK_ENABLE_{lane}=on",
            f"RUSTFS_NOTIFY_WEBHOOK_ENDPOINT_{lane}="
            f"'{receiver_url}/events/minio?lane={lane.lower()}'",
            f"RUSTFS_NOTIFY_WEBHOOK_AUTH_TOKEN_{lane}='TOKEN'",
        )
    ]
    lines.append("RUSTFS_NOTIFY_WEBHOOK_QUEUE_DIR_DURABLE=/var/lib/rustfs/quicksilver-queue")
    return (
        "start RustFS with these settings, then give each bucket a rule for both targets\n"
        "(arn:rustfs:sqs:REGION:FAST:webhook and …:DURABLE:webhook, events s3:ObjectCreated:* and\n"
        "s3:ObjectRemoved:*) with `aws s3api put-bucket-notification-configuration`:\n  "
        + "\n  ".join(lines)
    )


def _ceph(receiver_url: str) -> str:
    topics = [
        "aws --endpoint-url $MINIO_ENDPOINT_URL sns create-topic --name"
        f" quicksilver-{lane} --attributes"
        f' \'{{"push-endpoint": "{_with_token(receiver_url, lane)}",'
        f' "persistent": "{"true" if lane == "durable" else "false"}"}}\''
        for lane in ("fast", "durable")
    ]
    return (
        "make a topic for each lane, then a notification of each bucket to both (topic ARNs as\n"
        "`create-topic` answers them) with `aws s3api put-bucket-notification-configuration`:\n  "
        + "\n  ".join(topics)
    )


def _aws(receiver_url: str) -> str:
    return (
        "have S3 send s3:ObjectCreated:* and s3:ObjectRemoved:* of each bucket to a queue of SQS,\n"
        "and run `quicksilver consume sqs QUEUE_URL`; or to EventBridge, whose API destination\n"
        f"posts to\n  {receiver_url}/events/s3?lane=durable\n"
        "with the header `Authorization: Bearer TOKEN`"
    )


def _other(receiver_url: str) -> str:
    return (
        "where the store can post notifications, have it post to one of these; one that cannot is"
        " listed:\n"
        f"  {receiver_url}/events/s3?lane=fast with the header `Authorization: Bearer TOKEN`\n"
        f"  {_with_token(receiver_url, 'fast')}"
    )


_BOTH = ("fast", "durable")

# By the values of QUICKSILVER_STORE.
STORES = {
    "minio": Store("MinIO", _BOTH),
    "rustfs": Store("RustFS", _BOTH, _rustfs),
    "ceph": Store("Ceph", _BOTH, _ceph),
    "aws": Store("Amazon S3", ("durable",), _aws),
    "versity": Store("Versity S3 Gateway", ("fast",), _versity),
    # May tell or not: what comes is measured, and nothing is expected.
    "other": Store("the store", (), _other),
}


def store_of(settings: Settings) -> Store:
    """The declared store."""
    return STORES[settings.store]
