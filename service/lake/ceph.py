"""Ceph's side of the lanes: a topic each, and the notifications of each bucket to both.

A topic that is `persistent` is the durable lane. Applied again, nothing changes.
"""

import ssl
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from minio import Minio
from minio.notificationconfig import (
    NotificationConfig,
    PrefixFilterRule,
    SuffixFilterRule,
    TopicConfig,
)
from pydantic import SecretStr

from quicksilver.domain import lanes
from quicksilver.domain.datasets import Datasets
from quicksilver.errors import BronzeUnavailableError, QuicksilverError
from quicksilver.lake.bronze import minio_client
from quicksilver.lake.rules import make_buckets, refusals_told
from quicksilver.lake.stores import with_token
from quicksilver.lake.targets import Say
from quicksilver.lake.wanted import rules_of
from quicksilver.settings import Settings

# A topic's name, before its lane.
TOPIC = "quicksilver"
# Seconds: the first topic of a fresh cluster makes a pool.
_ANSWER_WITHIN = 60


def configure_topics(
    settings: Settings, datasets: Datasets, say: Say, *, receiver_url: str
) -> None:
    """Make the buckets, both topics and the notifications what they should be.

    Raises:
        BronzeUnavailableError: Ceph did not answer.
        QuicksilverError: Ceph refused; the message says what and why.
    """
    settings.require("webhook_tokens")
    buckets = make_buckets(settings, datasets, say)
    arns = {
        # The last token, where there are several, is the durable lane's: as with MinIO.
        lane: _topic(settings, lane, receiver_url, settings.webhook_tokens[place])
        for lane, place in ((lanes.FAST, 0), (lanes.DURABLE, -1))
    }
    say(f"topics {', '.join(arn.rpartition(':')[2] for arn in arns.values())}: set")
    with refusals_told(settings):
        for bucket in buckets:
            _notify(minio_client(settings, timeout=_ANSWER_WITHIN), datasets, bucket, arns)
            say(f"bucket {bucket}: notifications set")


def _topic(settings: Settings, lane: str, receiver_url: str, token: SecretStr) -> str:
    """Make a topic, or set it anew; its ARN."""
    address = with_token(receiver_url.rstrip("/"), lane, token.get_secret_value())
    with _topics_told(settings):
        made = _client(settings).create_topic(
            Name=f"{TOPIC}-{lane}",
            Attributes={
                "push-endpoint": address,
                "persistent": str(lane == lanes.DURABLE).lower(),
            },
        )
    return made["TopicArn"]


def _client(settings: Settings) -> Any:
    return botocore.session.get_session().create_client(
        "sns",
        # Ceph asks for a region, and takes any.
        region_name="default",
        endpoint_url=settings.minio_endpoint_url,
        aws_access_key_id=settings.minio_access_key,
        aws_secret_access_key=settings.minio_secret_key.get_secret_value(),
        # The authorities that the store's own client trusts.
        verify=ssl.get_default_verify_paths().cafile or True,
        config=Config(read_timeout=_ANSWER_WITHIN, retries={"max_attempts": 1}),
    )


@contextmanager
def _topics_told(settings: Settings) -> Generator[None]:
    url = settings.minio_endpoint_url
    try:
        yield
    except ClientError as error:
        if urlsplit(url).scheme == "https":
            raise QuicksilverError(f"Ceph refused a topic: {error}") from error
        raise QuicksilverError(
            f"Ceph refused a topic ({error}): it takes an address that holds a token only over"
            f" HTTPS, and MINIO_ENDPOINT_URL is {url}. Run `quicksilver init` once with the"
            " gateway's https:// address, or let the gateway take it:"
            " rgw_allow_notification_secrets_in_cleartext (since Ceph 17)"
        ) from error
    except (BotoCoreError, OSError) as error:
        raise BronzeUnavailableError(f"Ceph at {url} does not answer: {error}") from error


def _notify(client: Minio, datasets: Datasets, bucket: str, arns: dict[str, str]) -> None:
    """Set our notifications; others of the bucket stay.

    Ours are set whatever is there: a topic's change reaches a notification when it is made again.
    """
    present = client.get_bucket_notification(bucket)
    others = [rule for rule in present.topic_config_list if rule.topic not in arns.values()]
    ours = [
        TopicConfig(
            topic=arns[rule.lane],
            events=list(rule.events),
            config_id=rule.name,
            prefix_filter_rule=PrefixFilterRule(rule.prefix) if rule.prefix else None,
            suffix_filter_rule=SuffixFilterRule(rule.suffix) if rule.suffix else None,
        )
        for rule in rules_of(datasets, bucket, arns)
    ]
    client.set_bucket_notification(
        bucket,
        NotificationConfig(
            cloud_func_config_list=present.cloud_func_config_list,
            queue_config_list=present.queue_config_list,
            topic_config_list=[*others, *ours],
        ),
    )
