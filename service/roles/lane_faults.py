"""Finds the broken hop of a silent lane, as far as it can be seen from here, hop by hop.

bucket rule → webhook target → MinIO reaches the receiver → the receiver takes the token.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import httpx
import urllib3
from minio import Minio
from minio.error import MinioAdminException, MinioException

from quicksilver.domain.partition import CANARY_PREFIX
from quicksilver.lake.stores import store_of
from quicksilver.lake.targets import LANES, minio_admin, target_arn
from quicksilver.ledger import Ledger
from quicksilver.settings import Settings

_INIT = "`quicksilver init` sets it up again"


@dataclass(frozen=True, slots=True)
class Fault:
    """A broken hop: a sentence with what fixes it; `is_certain` if it was seen, not inferred."""

    text: str
    is_certain: bool = True


async def find_fault(
    settings: Settings,
    ledger: Ledger,
    client: Minio,
    bucket: str,
    lane: str,
    *,
    since: datetime,
    is_reached: bool,
) -> Fault:
    """Why nothing came on a lane since a moment, as far as it can be seen from here.

    `is_reached` says that another lane did reach the receiver.
    """
    target = LANES[lane]
    checks: tuple[Callable[[], Fault | None], ...] = (
        lambda: _rule_fault(client, bucket, target),
        lambda: target_fault(settings, target),
    )
    # Other stores have no common API that shows their configuration.
    for check in checks if settings.store == "minio" else ():
        fault = await asyncio.to_thread(check)
        if fault is not None:
            return fault
    if await ledger.watch.refused_since(lane, since):
        return Fault(f"the receiver refuses the {lane} lane's token: {_renewal(settings, target)}")
    fault = None if is_reached else await _receiver_fault(settings)
    if fault is not None:
        return fault
    if settings.store != "minio":
        tells_by_rules = settings.store in ("rustfs", "ceph", "aws")
        unmatched = await asyncio.to_thread(_unmatched, client, bucket) if tells_by_rules else None
        if unmatched is not None:
            return Fault(unmatched, is_certain=False)
        return Fault(
            f"nothing of it arrived: does {store_of(settings).title} post to this service?"
            " `quicksilver init` prints what it needs for that",
            is_certain=False,
        )
    return Fault(
        f"nothing of it arrived, and no hop says why: does the webhook target {target} point to"
        " this service (`quicksilver init --receiver-url URL` has it do so), and does a proxy"
        " between them let it through? MinIO's log names what it was answered",
        is_certain=False,
    )


def _renewal(settings: Settings, target: str) -> str:
    if settings.store != "minio":
        return f"give {store_of(settings).title} one of QUICKSILVER_WEBHOOK_TOKENS again"
    return (
        f"`quicksilver init --renew-lanes` gives MinIO's webhook target {target} the one of"
        " QUICKSILVER_WEBHOOK_TOKENS again"
    )


def _rule_fault(client: Minio, bucket: str, target: str) -> Fault | None:
    try:
        rules = client.get_bucket_notification(bucket).queue_config_list
    except (MinioException, urllib3.exceptions.HTTPError, OSError):
        return None
    for rule in rules:
        prefix = rule.prefix_filter_rule.value if rule.prefix_filter_rule else ""
        if rule.queue == target_arn(target) and CANARY_PREFIX.startswith(prefix):
            return None
    return Fault(f"bucket {bucket} has no notification rule for {target}: {_INIT}")


def _unmatched(client: Minio, bucket: str) -> str | None:
    """A fault in a bucket's rules, in any store: none for canaries, or one without a match."""
    try:
        found = client.get_bucket_notification(bucket)
    except (MinioException, urllib3.exceptions.HTTPError, OSError):
        return None
    rules = (*found.queue_config_list, *found.topic_config_list)
    filters = [rule.prefix_filter_rule.value if rule.prefix_filter_rule else "" for rule in rules]
    if not any(CANARY_PREFIX.startswith(prefix) for prefix in filters):
        return (
            f"bucket {bucket} has no notification rule for {CANARY_PREFIX}: `quicksilver init` sets"
            " it, or prints how"
        )
    return (
        f"bucket {bucket} has its notification rule and tells nothing: either the store does not"
        " reach the service, or it never matches a filter, a known defect of some releases of"
        " RustFS: update it, or give the bucket a rule without prefix and suffix"
    )


def target_fault(settings: Settings, target: str) -> Fault | None:
    """A webhook target that is missing or offline; None also where these credentials may not ask.

    MinIO tries to reach the target while it answers.
    """
    try:
        info: dict[str, Any] = json.loads(minio_admin(settings).info())
    except (MinioAdminException, ValueError, urllib3.exceptions.HTTPError, OSError):
        # Without an administrator's credentials this is unknown.
        return None
    if target_arn(target) not in (info.get("sqsARN") or []):
        return Fault(f"MinIO has no webhook target {target}: {_INIT}")
    if _status(info, target) == "offline":
        return Fault(
            f"MinIO does not reach the receiver: its webhook target {target} is offline. Is the"
            " service's address reachable from MinIO's own host? `quicksilver init --receiver-url"
            " URL` sets another one"
        )
    return None


def _status(info: dict[str, Any], target: str) -> str | None:
    for kinds in info.get("services", {}).get("notifications") or []:
        for entry in cast("list[dict[str, Any]]", kinds.get("webhook") or []):
            if target in entry:
                return entry[target].get("status")
    return None


async def _receiver_fault(settings: Settings) -> Fault | None:
    try:
        async with httpx.AsyncClient(base_url=settings.url, timeout=5) as http:
            answer = await http.get("/healthz")
    except httpx.HTTPError as error:
        return Fault(
            f"the service does not answer at QUICKSILVER_URL ({settings.url}:"
            f" {error or type(error).__name__}): is a receiver running?"
        )
    if not answer.is_success:
        return Fault(
            f"the service at QUICKSILVER_URL ({settings.url}) answers {answer.status_code}"
        )
    return None
