"""MinIO's side of the lanes: the bucket, two webhook targets, and the rules that feed them.

Applied again, nothing changes; other rules of the bucket are left alone.
"""

import json
import time
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

import urllib3
from minio import Minio, MinioAdmin
from minio.credentials.providers import StaticProvider
from minio.error import MinioAdminException, MinioException, S3Error
from minio.notificationconfig import (
    NotificationConfig,
    PrefixFilterRule,
    QueueConfig,
    SuffixFilterRule,
)

from service.bronze import minio_client
from service.datasets import Dataset, Datasets
from service.errors import BronzeUnavailableError, QuicksilverError
from service.partition import CANARY_PREFIX
from service.settings import Settings

FAST = "QUICKSILVER_FAST"
DURABLE = "QUICKSILVER_DURABLE"
LANES = {"fast": FAST, "durable": DURABLE}

# A restarting MinIO answers again within seconds; a cluster may take longer.
_RESTART_WITHIN = 60.0


@dataclass(frozen=True, slots=True)
class LaneReport:
    """What `configure_lanes` did, for people."""

    lines: tuple[str, ...]


def target_arn(target: str) -> str:
    """The name by which bucket rules call a webhook target."""
    return f"arn:minio:sqs::{target}:webhook"


def minio_admin(settings: Settings) -> MinioAdmin:
    """A client of MinIO's admin API."""
    parts = urlsplit(settings.minio_endpoint_url)
    return MinioAdmin(
        endpoint=parts.netloc,
        credentials=StaticProvider(
            settings.minio_access_key, settings.minio_secret_key.get_secret_value()
        ),
        secure=parts.scheme == "https",
        http_client=urllib3.PoolManager(timeout=urllib3.Timeout(10.0), retries=False),
    )


def known_targets(admin: MinioAdmin) -> set[str]:
    """The ARNs of the notification targets that MinIO has now.

    Raises:
        BronzeUnavailableError: MinIO did not answer.
        QuicksilverError: the credentials may not ask.
    """
    try:
        info: dict[str, Any] = json.loads(admin.info())
    except MinioAdminException as error:
        raise QuicksilverError(
            f"MinIO refused to list its webhook targets ({error}): the credentials of"
            " `quicksilver init` need admin:ServerInfo and admin:ConfigUpdate"
        ) from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise BronzeUnavailableError(f"MinIO does not answer: {error}") from error
    return set(cast("list[str]", info.get("sqsARN") or []))


def configure_lanes(
    settings: Settings, datasets: Datasets, *, receiver_url: str, queue_dir: str
) -> LaneReport:
    """Make the buckets, both webhook targets and the notification rules what they should be.

    Args:
        settings: endpoint, credentials and webhook tokens.
        datasets: whose prefixes and suffixes are to be told of.
        receiver_url: the service's address as MinIO reaches it.
        queue_dir: a folder on MinIO's own disk, where the durable lane keeps what was not taken.

    Raises:
        BronzeUnavailableError: MinIO did not answer.
        QuicksilverError: MinIO refused; the message says what and why.
    """
    lines: list[str] = []
    settings.require("webhook_tokens")
    client = minio_client(settings)
    admin = minio_admin(settings)
    try:
        for bucket in dict.fromkeys(d.bucket for d in datasets.datasets):
            if not client.bucket_exists(bucket):
                client.make_bucket(bucket)
                lines.append(f"bucket {bucket}: made")
        lines += _configure_targets(settings, admin, receiver_url, queue_dir)
        for bucket in dict.fromkeys(d.bucket for d in datasets.datasets):
            changed = _configure_rules(client, bucket, datasets)
            lines.append(f"bucket {bucket}: notification rules {'set' if changed else 'in place'}")
    except S3Error as error:
        raise QuicksilverError(f"MinIO refused: {error.code}: {error.message}") from error
    except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
        raise BronzeUnavailableError(
            f"MinIO at {settings.minio_endpoint_url} does not answer: {error}"
        ) from error
    return LaneReport(tuple(lines))


def _configure_targets(
    settings: Settings, admin: MinioAdmin, receiver_url: str, queue_dir: str
) -> list[str]:
    known = known_targets(admin)
    missing = {lane: target for lane, target in LANES.items() if target_arn(target) not in known}
    if not missing:
        return ["webhook targets: in place"]
    tokens = settings.webhook_tokens
    for lane, target in missing.items():
        # The second token, where there is one, is the durable lane's: each can be rotated alone.
        token = tokens[-1 if lane == "durable" and len(tokens) > 1 else 0]
        config = {
            "endpoint": f"{receiver_url}/events/minio?lane={lane}",
            "auth_token": f'"{token.get_secret_value()}"',
        }
        if lane == "durable":
            config["queue_dir"] = queue_dir
            config["queue_limit"] = "100000"
        try:
            admin.config_set(f"notify_webhook:{target}", config)
        except MinioAdminException as error:
            raise QuicksilverError(
                f"MinIO did not take the webhook target {target}: {error}. MinIO tries the"
                f" address when it is set: is the service running, and does {receiver_url} reach"
                " it from MinIO's host?"
            ) from error
    admin.service_restart()
    deadline = time.monotonic() + _RESTART_WITHIN
    wanted = {target_arn(target) for target in missing.values()}
    while time.monotonic() < deadline:
        try:
            if wanted <= known_targets(admin):
                return [f"webhook target {target}: set" for target in missing.values()]
        except QuicksilverError:
            pass
        time.sleep(0.25)
    raise BronzeUnavailableError(
        f"MinIO does not show the webhook targets {_RESTART_WITHIN:g} s after its restart"
    )


def wanted_rules(datasets: Datasets, bucket: str) -> list[QueueConfig]:
    """The rules that a bucket should have for our targets."""
    rules: list[QueueConfig] = []
    for dataset in datasets.datasets:
        if dataset.bucket != bucket:
            continue
        for suffix in _suffixes(dataset):
            for lane, target in LANES.items():
                rules.append(
                    QueueConfig(
                        queue=target_arn(target),
                        # Deletes and tags are told too: the ledger says why they fire nothing.
                        events=["s3:ObjectCreated:*", "s3:ObjectRemoved:*"],
                        config_id=f"quicksilver-{lane}-{dataset.name}{suffix}",
                        prefix_filter_rule=PrefixFilterRule(dataset.prefix),
                        suffix_filter_rule=SuffixFilterRule(suffix) if suffix else None,
                    )
                )
    for lane, target in LANES.items():
        rules.append(
            QueueConfig(
                queue=target_arn(target),
                events=["s3:ObjectCreated:Put"],
                config_id=f"quicksilver-{lane}-canary",
                prefix_filter_rule=PrefixFilterRule(CANARY_PREFIX),
            )
        )
    return rules


def _suffixes(dataset: Dataset) -> list[str]:
    suffixes = [dataset.suffix]
    if (
        dataset.ready.marker
        and dataset.suffix
        and not dataset.ready.marker.endswith(dataset.suffix)
    ):
        suffixes.append(dataset.ready.marker)
    return suffixes


def _same_rule(first: QueueConfig, second: QueueConfig) -> bool:
    def essence(rule: QueueConfig) -> tuple[object, ...]:
        prefix, suffix = rule.prefix_filter_rule, rule.suffix_filter_rule
        return (
            rule.queue,
            tuple(sorted(rule.events)),
            prefix.value if prefix else "",
            suffix.value if suffix else "",
        )

    return essence(first) == essence(second)


def rules_in_place(client: Minio, bucket: str, datasets: Datasets) -> bool:
    """Whether a bucket has exactly the rules for our targets that it should have."""
    wanted = wanted_rules(datasets, bucket)
    mine = [r for r in client.get_bucket_notification(bucket).queue_config_list if _is_ours(r)]
    return len(mine) == len(wanted) and all(any(_same_rule(w, m) for m in mine) for w in wanted)


def _is_ours(rule: QueueConfig) -> bool:
    return rule.queue in {target_arn(target) for target in LANES.values()}


def _configure_rules(client: Minio, bucket: str, datasets: Datasets) -> bool:
    """Whether anything had to change."""
    if rules_in_place(client, bucket, datasets):
        return False
    present = client.get_bucket_notification(bucket)
    wanted = wanted_rules(datasets, bucket)
    others = [rule for rule in present.queue_config_list if not _is_ours(rule)]
    client.set_bucket_notification(
        bucket,
        NotificationConfig(
            cloud_func_config_list=present.cloud_func_config_list,
            queue_config_list=[*others, *wanted],
            topic_config_list=present.topic_config_list,
        ),
    )
    return True
