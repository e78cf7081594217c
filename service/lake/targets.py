"""MinIO's two webhook targets: reading their configuration, and correcting it."""

import json
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

import urllib3
from minio import MinioAdmin
from minio.credentials.providers import StaticProvider
from minio.error import MinioAdminException

from quicksilver.domain import lanes
from quicksilver.errors import BronzeUnavailableError, QuicksilverError
from quicksilver.settings import Settings

FAST = "QUICKSILVER_FAST"
DURABLE = "QUICKSILVER_DURABLE"
LANES = {lanes.FAST: FAST, lanes.DURABLE: DURABLE}

# Where MinIO keeps what the durable lane could not deliver, unless said otherwise.
QUEUE_DIR = "/var/lib/minio/quicksilver-queue"

# A restarting MinIO answers again within seconds; a cluster may take longer.
_RESTART_WITHIN = 60.0

# Seconds: older than a new process can be when it is looked at, its whole seconds rounded down.
_OLD_ENOUGH = 3

_VALUE = re.compile(r'(\w+)=(?:"([^"]*)"|(\S*))')
_VARIABLE = re.compile(r"# MINIO_NOTIFY_WEBHOOK_([A-Z]+(?:_[A-Z]+)*?)_(QUICKSILVER_\w+)=(.*)")

# Go's error messages for an address that does not answer.
_UNREACHED = re.compile(r"\bdial\b|\blookup\b|timeout|deadline exceeded|connection re(fused|set)")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Target:
    """A webhook target as MinIO runs it; MinIO never shows its token.

    `is_of_environment`: MinIO's own environment sets it, and overrides its configuration.
    """

    endpoint: str
    queue_dir: str
    is_of_environment: bool


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
    return set(cast("list[str]", _info(admin).get("sqsARN") or []))


def configured_targets(admin: MinioAdmin) -> dict[str, Target]:
    """The lanes' targets that MinIO runs, by name.

    Raises:
        BronzeUnavailableError: MinIO did not answer.
        QuicksilverError: the credentials may not ask.
    """
    try:
        text = admin.config_get("notify_webhook")
    except (MinioAdminException, UnboundLocalError) as error:
        # The client hides MinIO's refusal behind an error of its own.
        raise QuicksilverError(
            "MinIO refused to show its webhook targets: the credentials of `quicksilver init`"
            " need admin:ConfigUpdate"
        ) from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise BronzeUnavailableError(f"MinIO does not answer: {error}") from error
    return read_targets(text)


def read_targets(text: str) -> dict[str, Target]:
    """The lanes' targets in MinIO's configuration, as its admin API tells it. Pure."""
    values: dict[str, dict[str, str]] = {}
    of_environment: set[str] = set()
    for line in text.splitlines():
        if found := _VARIABLE.fullmatch(line.strip()):
            name, target, value = found.groups()
            values.setdefault(target, {})[name.lower()] = value
            of_environment.add(target)
        elif line.startswith("notify_webhook:"):
            target, _, rest = line.removeprefix("notify_webhook:").partition(" ")
            given = {name: quoted or plain for name, quoted, plain in _VALUE.findall(rest)}
            values[target] = given | values.get(target, {})
    return {
        target: Target(
            found.get("endpoint", ""), found.get("queue_dir", ""), target in of_environment
        )
        for target, found in values.items()
        if target in LANES.values() and found.get("enable", "on") != "off"
    }


def configure_targets(
    settings: Settings,
    admin: MinioAdmin,
    say: Say,
    *,
    receiver_url: str,
    queue_dir: str | None,
    renew: bool,
) -> None:
    """Make both targets what they should be; MinIO restarts by itself when one was not.

    A queue directory that is not named stays. Tokens cannot be compared: `renew` sets them.

    Raises:
        BronzeUnavailableError: MinIO did not answer.
        QuicksilverError: MinIO refused, or its own environment says otherwise.
    """
    present = configured_targets(admin)
    wrong: dict[str, str] = {}
    for lane, target in LANES.items():
        now = present.get(target)
        endpoint = f"{receiver_url}/events/minio?lane={lane}"
        moves = lane == "durable" and queue_dir and now and now.queue_dir != queue_dir
        if now is None:
            wrong[target] = "set"
        elif now.endpoint != endpoint:
            wrong[target] = f"set to {endpoint}, was {now.endpoint}"
        elif moves:
            wrong[target] = f"queue directory set to {queue_dir}, was {now.queue_dir}"
        elif renew:
            wrong[target] = "set again, with its token"
        if now and now.is_of_environment and target in wrong:
            raise QuicksilverError(
                f"webhook target {target} is set by MinIO's own environment, which wins over what"
                f" it is told: give MINIO_NOTIFY_WEBHOOK_ENDPOINT_{target} {endpoint} there,"
                f" MINIO_NOTIFY_WEBHOOK_AUTH_TOKEN_{target} the lane's token (the first of"
                " QUICKSILVER_WEBHOOK_TOKENS is the fast lane's, the last the durable one's), and"
                " start MinIO again"
            )
    if not wrong:
        say("webhook targets: in place")
        return
    for lane, target in LANES.items():
        if target in wrong:
            now = present.get(target)
            kept = queue_dir or (now.queue_dir if now else "") or QUEUE_DIR
            _set(settings, admin, lane, receiver_url, kept)
    _restart(admin, {target_arn(target) for target in wrong})
    for target, what in wrong.items():
        say(f"webhook target {target}: {what}")


def _set(
    settings: Settings, admin: MinioAdmin, lane: str, receiver_url: str, queue_dir: str
) -> None:
    # The last token, where there are several, is the durable lane's: each can be rotated alone.
    token = settings.webhook_tokens[-1 if lane == "durable" else 0].get_secret_value()
    config = {
        "endpoint": f'"{receiver_url}/events/minio?lane={lane}"',
        "auth_token": f'"{token}"',
    }
    if lane == "durable":
        config |= {"queue_dir": f'"{queue_dir}"', "queue_limit": "100000"}
    try:
        admin.config_set(f"notify_webhook:{LANES[lane]}", config)
    except MinioAdminException as error:
        said = _said(error)
        if _UNREACHED.search(said):
            raise QuicksilverError(
                f"MinIO takes a webhook target only where somebody answers, and from its host"
                f" nobody does at {receiver_url} ({said}). All else is set up: start"
                " `quicksilver serve`, then run `quicksilver init` again; if the service runs,"
                " give its address as MinIO reaches it with --receiver-url"
            ) from error
        raise QuicksilverError(
            f"MinIO did not take the webhook target {LANES[lane]}: {said}"
        ) from error


def _said(error: MinioAdminException) -> str:
    """MinIO's own sentence in its refusal."""
    found = re.search(r'"Message":"((?:[^"\\]|\\.)*)"', str(error))
    return str(json.loads(f'"{found[1]}"')) if found else str(error)


def _restart(admin: MinioAdmin, wanted: Iterable[str]) -> None:
    """Restart MinIO to apply its configuration, and wait until it shows the targets.

    Raises:
        BronzeUnavailableError: it does not in time.
    """
    # Only its age tells a new process from the old one, which still answers for a moment.
    while min(_ages(_info(admin)), default=_OLD_ENOUGH) < _OLD_ENOUGH:
        time.sleep(0.25)
    admin.service_restart()
    began = time.monotonic()
    while (elapsed := time.monotonic() - began) < _RESTART_WITHIN:
        try:
            info = _info(admin)
        except QuicksilverError:
            pass
        else:
            is_new = max(_ages(info), default=0) <= elapsed + 1
            if is_new and set(wanted) <= set(info.get("sqsARN") or []):
                return
        time.sleep(0.25)
    raise BronzeUnavailableError(
        f"MinIO does not show the webhook targets {_RESTART_WITHIN:g} s after its restart"
    )


def _ages(info: dict[str, Any]) -> list[int]:
    """Each server's uptime in whole seconds, by its own count."""
    return [int(server.get("uptime") or 0) for server in info.get("servers") or []]


def _info(admin: MinioAdmin) -> dict[str, Any]:
    try:
        return json.loads(admin.info())
    except MinioAdminException as error:
        raise QuicksilverError(
            f"MinIO refused to list its webhook targets ({error}): the credentials of"
            " `quicksilver init` need admin:ServerInfo and admin:ConfigUpdate"
        ) from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise BronzeUnavailableError(f"MinIO does not answer: {error}") from error
