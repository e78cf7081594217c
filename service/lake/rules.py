"""MinIO's side of the lanes: the bucket, two webhook targets, and the rules that feed them.

Applied again, nothing changes; other rules of the bucket are left alone.
"""

from collections.abc import Generator
from contextlib import contextmanager

import urllib3
from minio import Minio
from minio.error import MinioException, S3Error
from minio.notificationconfig import (
    NotificationConfig,
    PrefixFilterRule,
    QueueConfig,
    SuffixFilterRule,
)

from quicksilver.domain.datasets import Datasets
from quicksilver.errors import BronzeUnavailableError, QuicksilverError
from quicksilver.lake.bronze import minio_client
from quicksilver.lake.stores import store_of
from quicksilver.lake.targets import LANES, Say, configure_targets, minio_admin, target_arn
from quicksilver.lake.wanted import buckets_of, rules_of
from quicksilver.settings import Settings


def configure_lanes(
    settings: Settings,
    datasets: Datasets,
    say: Say,
    *,
    receiver_url: str,
    queue_dir: str | None = None,
    renew: bool = False,
) -> None:
    """Make the buckets, both webhook targets and the notification rules what they should be.

    Args:
        settings: endpoint, credentials and webhook tokens.
        datasets: their prefixes and suffixes are to be notified.
        say: called with each thing that was done, for people.
        receiver_url: the service's address as MinIO reaches it.
        queue_dir: a folder on MinIO's own disk, where the durable lane keeps what was not taken;
            None leaves the one that is set.
        renew: set both targets again though they look right: their tokens cannot be compared.

    Raises:
        BronzeUnavailableError: MinIO did not answer.
        QuicksilverError: MinIO refused; the message says what and why.
    """
    settings.require("webhook_tokens")
    client = minio_client(settings)
    admin = minio_admin(settings)
    buckets = make_buckets(settings, datasets, say)
    with refusals_told(settings):
        configure_targets(
            settings,
            admin,
            say,
            receiver_url=receiver_url.rstrip("/"),
            queue_dir=queue_dir,
            renew=renew,
        )
        for bucket in buckets:
            changed = _configure_rules(client, bucket, datasets)
            say(f"bucket {bucket}: notification rules {'set' if changed else 'in place'}")


def make_buckets(settings: Settings, datasets: Datasets, say: Say) -> list[str]:
    """Make the missing buckets that datasets name; returns all that they name.

    Raises:
        BronzeUnavailableError: the store did not answer.
        QuicksilverError: it refused; the message says what and why.
    """
    client = minio_client(settings)
    buckets = buckets_of(datasets)
    with refusals_told(settings):
        for bucket in buckets:
            if not client.bucket_exists(bucket):
                client.make_bucket(bucket)
                say(f"bucket {bucket}: made")
    return buckets


@contextmanager
def refusals_told(settings: Settings) -> Generator[None]:
    """Translate the store's refusals and outages into our errors."""
    title = store_of(settings).title
    try:
        yield
    except S3Error as error:
        raise QuicksilverError(f"{title} refused: {error.code}: {error.message}") from error
    except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
        raise BronzeUnavailableError(
            f"{title} at {settings.minio_endpoint_url} does not answer: {error}"
        ) from error


def wanted_rules(datasets: Datasets, bucket: str) -> list[QueueConfig]:
    """The rules that a bucket should have for our targets."""
    return [
        QueueConfig(
            queue=target_arn(LANES[rule.lane]),
            events=list(rule.events),
            config_id=rule.name,
            prefix_filter_rule=PrefixFilterRule(rule.prefix) if rule.prefix else None,
            suffix_filter_rule=SuffixFilterRule(rule.suffix) if rule.suffix else None,
        )
        for rule in rules_of(datasets, bucket)
    ]


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
