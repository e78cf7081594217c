"""Commands and a policy for the store's administrator, where Quicksilver has no rights.

The same buckets, targets and rules that `configure_lanes` sets, as `mc` commands for a person.
"""

import json
import shlex
from typing import Any

from quicksilver.domain.datasets import Datasets
from quicksilver.domain.partition import CANARY_PREFIX
from quicksilver.lake.rules import wanted_rules
from quicksilver.lake.targets import LANES, QUEUE_DIR
from quicksilver.lake.wanted import buckets_of

ALIAS = "lake"
# `mc event add` calls them by these names.
_EVENTS = {
    "s3:ObjectCreated:*": "put",
    "s3:ObjectRemoved:*": "delete",
}


def lane_commands(datasets: Datasets, *, receiver_url: str, queue_dir: str | None) -> list[str]:
    """`mc` commands that make buckets, webhook targets and rules, in order.

    Tokens are named as shell variables FAST_TOKEN and DURABLE_TOKEN: no secret is printed.
    """
    buckets = buckets_of(datasets)
    lines = [f"mc mb --ignore-existing {shlex.quote(f'{ALIAS}/{bucket}')}" for bucket in buckets]
    for lane, target in LANES.items():
        endpoint = f"{receiver_url.rstrip('/')}/events/minio?lane={lane}"
        queue = f' queue_dir="{queue_dir or QUEUE_DIR}"' if lane == "durable" else ""
        lines.append(
            f"mc admin config set {ALIAS} notify_webhook:{target}"
            f' endpoint="{endpoint}" auth_token="${lane.upper()}_TOKEN"{queue}'
        )
    lines.append(f"mc admin service restart {ALIAS}")
    for bucket in buckets:
        for rule in wanted_rules(datasets, bucket):
            words = ["mc", "event", "add", "--ignore-existing", f"{ALIAS}/{bucket}"]
            words += [str(rule.queue), "--event", ",".join(_EVENTS[event] for event in rule.events)]
            for option, found in (
                ("--prefix", rule.prefix_filter_rule),
                ("--suffix", rule.suffix_filter_rule),
            ):
                if found and (text := found.value):
                    words += [option, text]
            lines.append(shlex.join(words))
    return lines


def reader_policy(datasets: Datasets) -> str:
    """The policy, as JSON, of the credentials that the service and its flows need: they list and
    read bronze, and write canaries."""
    statements: list[dict[str, Any]] = []
    for bucket in buckets_of(datasets):
        own = [dataset.prefix for dataset in datasets.datasets if dataset.bucket == bucket]
        prefixes = [*sorted({*own}), CANARY_PREFIX]
        arn = f"arn:aws:s3:::{bucket}"
        statements += [
            {"Effect": "Allow", "Action": ["s3:GetBucketLocation"], "Resource": [arn]},
            {
                "Effect": "Allow",
                "Action": ["s3:ListBucket", "s3:ListBucketVersions"],
                "Resource": [arn],
                "Condition": {"StringLike": {"s3:prefix": [f"{p}*" for p in prefixes]}},
            },
            {
                "Effect": "Allow",
                "Action": ["s3:GetObject", "s3:GetObjectVersion"],
                "Resource": [f"{arn}/{p}*" for p in prefixes],
            },
            {
                "Effect": "Allow",
                "Action": ["s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion"],
                "Resource": [f"{arn}/{CANARY_PREFIX}*"],
            },
        ]
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, indent=2)
