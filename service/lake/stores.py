"""How the stores differ: how they notify, how reliably, and what their own settings must do."""

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

from quicksilver.domain import lanes
from quicksilver.domain.datasets import Datasets
from quicksilver.lake.wanted import buckets_of, notification
from quicksilver.settings import Settings


@dataclass(frozen=True, slots=True)
class Store:
    """One kind of store.

    `lanes` are those on which a canary must arrive: `fast` sends once, `durable` again until it is
    accepted. `instructions` gives, for a receiver's address, the lines that an administrator needs
    for what `quicksilver init` does not set, without tokens, which are secrets; None where it sets
    everything.
    """

    title: str
    lanes: tuple[str, ...]
    instructions: Callable[[str, Datasets], str] | None = None


# Stands for one of QUICKSILVER_WEBHOOK_TOKENS.
_STAND_IN = "TOKEN"


def with_token(receiver_url: str, lane: str, token: str) -> str:
    """The address for senders that cannot set a header: the token is its password."""
    scheme, _, address = receiver_url.partition("://")
    return f"{scheme}://quicksilver:{quote(token, safe='')}@{address}/events/s3?lane={lane}"


def _notifications(datasets: Datasets, arns: dict[str, str], kind: str) -> str:
    """The command that gives each bucket its rules, once its targets are there."""
    return "\n".join(
        "  aws --endpoint-url $MINIO_ENDPOINT_URL s3api put-bucket-notification-configuration"
        f" --bucket {shlex.quote(bucket)} --notification-configuration"
        f" {shlex.quote(json.dumps(notification(datasets, bucket, arns, kind)))}"
        for bucket in buckets_of(datasets)
    )


def _versity(receiver_url: str, _: Datasets) -> str:
    return (
        "start the gateway with this setting, while the service runs (it sends a test first):\n"
        f"  VGW_EVENT_WEBHOOK_URL='{with_token(receiver_url, lanes.FAST, _STAND_IN)}'"
    )


def _rustfs(receiver_url: str, datasets: Datasets) -> str:
    variable = "RUSTFS_NOTIFY_WEBHOOK"
    lines = [
        line
        for lane in lanes.WEBHOOK_LANES
        for line in (
            f"  {variable}_ENABLE_{lane.upper()}=on",
            f"  {variable}_ENDPOINT_{lane.upper()}='{receiver_url}/events/minio?lane={lane}'",
            f"  {variable}_AUTH_TOKEN_{lane.upper()}='TOKEN'",
        )
    ]
    arns = {
        lane: f"arn:rustfs:sqs:us-east-1:{lane.upper()}:webhook" for lane in lanes.WEBHOOK_LANES
    }
    return "\n".join(
        (
            "start RustFS with these settings:",
            *lines,
            f"  {variable}_QUEUE_DIR_DURABLE=/var/lib/rustfs/quicksilver-queue",
            "then give the buckets their rules:",
            _notifications(datasets, arns, "Queue"),
        )
    )


def _aws(receiver_url: str, datasets: Datasets) -> str:
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "s3.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": "QUEUE_ARN",
                "Condition": {
                    "ArnLike": {
                        "aws:SourceArn": [f"arn:aws:s3:::{b}" for b in buckets_of(datasets)]
                    }
                },
            }
        ],
    }
    rules = _notifications(datasets, {lanes.DURABLE: "QUEUE_ARN"}, "Queue")
    attributes = json.dumps({"Policy": json.dumps(policy)})
    return "\n".join(
        (
            "have S3 send to a queue, which QUEUE_URL and QUEUE_ARN stand for:",
            "  aws sqs create-queue --queue-name quicksilver",
            "  aws sqs get-queue-attributes --queue-url QUEUE_URL --attribute-names QueueArn",
            "  aws sqs set-queue-attributes --queue-url QUEUE_URL --attributes"
            f" {shlex.quote(attributes)}",
            "then give the buckets their rules (this replaces all that a bucket has: join them"
            " first):",
            rules.replace(" --endpoint-url $MINIO_ENDPOINT_URL", ""),
            "and run beside the service:",
            "  quicksilver consume sqs QUEUE_URL",
            "Or have EventBridge's API destination post to"
            f" {receiver_url}/events/s3?lane={lanes.DURABLE} with the header `Authorization: Bearer"
            " TOKEN`",
        )
    )


def _other(receiver_url: str, _: Datasets) -> str:
    return (
        "where the store can post notifications, have it post to one of these; one that cannot is"
        " listed:\n"
        f"  {receiver_url}/events/s3?lane=fast with the header `Authorization: Bearer TOKEN`\n"
        f"  {with_token(receiver_url, lanes.FAST, _STAND_IN)}"
    )


_BOTH = lanes.WEBHOOK_LANES

# By the values of QUICKSILVER_STORE.
STORES = {
    "minio": Store("MinIO", _BOTH),
    "rustfs": Store("RustFS", _BOTH, _rustfs),
    "ceph": Store("Ceph", _BOTH),
    "aws": Store("Amazon S3", (lanes.DURABLE,), _aws),
    "versity": Store("Versity S3 Gateway", (lanes.FAST,), _versity),
    # May notify or not: what arrives is measured, and nothing is expected.
    "other": Store("the store", (), _other),
}


def store_of(settings: Settings) -> Store:
    """The declared store."""
    return STORES[settings.store]
