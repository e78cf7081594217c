"""The notifier: the service itself tells people of alerts, whether Prefect runs or not.

One message covers all alerts since the last one; `resolved` follows each that was sent. Channels:
a webhook, Slack, e-mail, and whatever an Apprise URL names.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import structlog

from quicksilver.ledger import Ledger
from quicksilver.settings import Settings
from quicksilver.support.mail import send_mail
from quicksilver.support.postgres import Row
from quicksilver.support.repeated import Repeated

_log = structlog.get_logger(__name__)

_TICK = 3.0

# So long an alert collects what belongs to it: forty bad files land within seconds.
_GATHER = timedelta(seconds=6)

# Between two messages, however much happens.
_PAUSE = 10.0

_SEND_WITHIN = 20.0
PING_EVERY = 60.0

# A subject line and a list entry must be readable at a glance.
_LINE = 160


@dataclass(frozen=True, slots=True)
class Message:
    """What people get: a subject, a text, and the alerts as programs take them."""

    subject: str
    body: str
    alerts: Sequence[dict[str, Any]] = ()


class Notifier:
    """Sends alerts to every channel that the settings name."""

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self._settings = settings
        self._ledger = ledger
        self._channels = channels(settings)
        self._has_told = False
        self._refused: dict[str, Repeated] = {}

    async def pause(self) -> float:
        """Seconds until the next pass: more after people were told."""
        return _PAUSE if self._has_told else _TICK

    async def run_once(self) -> int:
        """Tell of what is new; how many alerts were told.

        Raises:
            LedgerUnavailableError: it is not known what is new.
        """
        self._has_told = False
        if not self._channels:
            return 0
        rows = await self._ledger.notices.lease(older_than=_GATHER)
        if not rows:
            return 0
        ids = [row["id"] for row in rows]
        if not await self._send(compose(rows, self._settings.url)):
            await self._ledger.notices.release(ids)
            return 0
        ended = [row["id"] for row in rows if row["cleared_at"]]
        await self._ledger.notices.mark_told(ids, ended=ended)
        self._has_told = True
        return len(rows)

    async def tell(self, subject: str, body: str) -> bool:
        """Send a message without an alert in the ledger; whether any channel accepted it."""
        return await self._send(Message(subject, body))

    async def _send(self, message: Message) -> bool:
        results = await asyncio.gather(
            *(self._through(name, send, message) for name, send in self._channels.items())
        )
        return any(results)

    async def _through(
        self, name: str, send: Callable[[Message], Awaitable[None]], message: Message
    ) -> bool:
        try:
            async with asyncio.timeout(_SEND_WITHIN):
                await send(message)
        except Exception as error:
            # Whatever error a channel raises, the others are still tried, and this one again later.
            said = type(error).__name__
            refused = self._refused.setdefault(name, Repeated())
            if refused.is_news(said):
                _log.warning(
                    "a message was not taken", channel=name, error=said, failures=refused.failures
                )
            return False
        self._refused.pop(name, None)
        _log.info("told", channel=name, subject=message.subject)
        return True


async def ping(settings: Settings, ledger: Ledger) -> None:
    """Call QUICKSILVER_HEARTBEAT_URL if the ledger answers: a missing call tells the monitor that
    the service is dead.

    Raises:
        LedgerUnavailableError: it does not answer.
    """
    url = settings.heartbeat_url.get_secret_value()
    await ledger.upkeep.next_due()
    try:
        async with httpx.AsyncClient(timeout=_SEND_WITHIN) as client:
            (await client.get(url)).raise_for_status()
    except httpx.HTTPError as error:
        # The exception's text would contain the address, which is a secret.
        _log.warning("the heartbeat was not sent", error=type(error).__name__)


def compose(rows: Sequence[Row], url: str) -> Message:
    """One message for alerts that were raised, and for those that are over. Pure."""
    raised = [row for row in rows if not row["cleared_at"]]
    ended = [row for row in rows if row["cleared_at"]]
    lines = [f"{row['text']}\n{url}{row['link']}" for row in raised]
    lines += [
        f"Resolved after {_length(row['cleared_at'] - row['raised_at'])}: {row['text']}"
        for row in ended
    ]
    if len(rows) == 1:
        subject = f"Quicksilver: {'resolved: ' if ended else ''}{rows[0]['text']}"
    else:
        counts = [f"{len(raised)} new"] if raised else []
        counts += [f"{len(ended)} resolved"] if ended else []
        subject = f"Quicksilver: {', '.join(counts)}"
    if len(subject) > _LINE:
        subject = subject[: _LINE - 1] + "…"
    return Message(
        subject,
        "\n\n".join(lines),
        [
            {
                "state": "resolved" if row["cleared_at"] else "raised",
                "kind": row["kind"],
                "subject": row["subject"],
                "text": row["text"],
                "count": row["count"],
                "since": row["raised_at"].isoformat(),
                "link": url + row["link"],
            }
            for row in rows
        ],
    )


def _length(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min"


def channels(settings: Settings) -> dict[str, Callable[[Message], Awaitable[None]]]:
    """The channels by name; none where Prefect's automations tell people."""
    found: dict[str, Callable[[Message], Awaitable[None]]] = {}
    if settings.notify_by != "service":
        return found
    if webhook := settings.notify_webhook_url.get_secret_value():
        found["webhook"] = lambda message: _post(
            webhook,
            {"subject": message.subject, "body": message.body, "alerts": list(message.alerts)},
        )
    if slack := settings.notify_slack_url.get_secret_value():
        found["slack"] = lambda message: _post(
            slack, {"text": f"{message.subject}\n{message.body}"}
        )
    if smtp := settings.notify_smtp_url.get_secret_value():
        sender = settings.notify_email_from or settings.notify_email_to
        found["e-mail"] = lambda message: asyncio.to_thread(
            send_mail, smtp, sender, settings.notify_email_to, message.subject, message.body
        )
    if urls := settings.notify_urls.get_secret_value().split():
        found["apprise"] = lambda message: asyncio.to_thread(_by_apprise, urls, message)
    return found


async def _post(url: str, content: dict[str, Any]) -> None:
    async with httpx.AsyncClient(timeout=_SEND_WITHIN) as client:
        (await client.post(url, json=content)).raise_for_status()


def _by_apprise(urls: Sequence[str], message: Message) -> None:
    from apprise import Apprise

    apprise = Apprise()
    for url in urls:
        if not apprise.add(url):
            raise ValueError("QUICKSILVER_NOTIFY_URLS holds an address that Apprise does not know")
    if not apprise.notify(title=message.subject, body=message.body or message.subject):
        raise OSError("Apprise could not deliver it")
