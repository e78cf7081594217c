"""The watchdog: what is wrong with the parts and with builds, as alerts, one for each cause.

Alerts live in the ledger; while that is away, people are told of it directly.
"""

from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlencode

import structlog

from quicksilver.domain.health import Health
from quicksilver.domain.states import PartitionState
from quicksilver.ledger import Ledger
from quicksilver.roles.alerts import keep_alerts
from quicksilver.roles.health import HealthWatch
from quicksilver.roles.notifier import Notifier
from quicksilver.settings import Settings
from quicksilver.support import clock

_log = structlog.get_logger(__name__)

INTERVAL = 5.0

# A restarted part answers sooner: no alert for that.
_TROUBLE_FOR = timedelta(seconds=10)

_STUCK_FOR = timedelta(seconds=40)

FAILED = "failed"
PART = "part"
DISPATCH = "dispatch"
QUARANTINE = "quarantine"
_KINDS = (FAILED, PART, DISPATCH, QUARANTINE)

# The canary's own alerts cover the lanes; without the ledger no alert can be stored.
_TOLD_OTHERWISE = ("fast lane", "durable lane", "ledger")


@dataclass(frozen=True, slots=True)
class _Wanted:
    text: str
    count: int = 1
    link: str = "/"


class Watchdog:
    """Raises and clears the alerts of the kinds `part`, `dispatch`, `failed` and `quarantine`."""

    def __init__(
        self, settings: Settings, ledger: Ledger, health: HealthWatch, notifier: Notifier
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._health = health
        self._notifier = notifier
        self._told_of_ledger = False

    async def run_pass(self) -> int:
        """The loop's pass: people are told directly of a ledger that is away, then as `run_once`.

        Raises:
            LedgerUnavailableError: nothing can be kept now.
        """
        await self._tell_of_ledger(await self._health.look())
        return await self.run_once()

    async def run_once(self) -> int:
        """Look once; how many alerts of its kinds are open after it.

        Raises:
            LedgerUnavailableError: nothing can be kept now.
        """
        health = await self._health.look()
        wanted = {
            **self._parts(health),
            **await self._stuck(health),
            **await self._failures(),
            **await self._quarantined(),
        }
        texts = {known: alert.text for known, alert in wanted.items()}
        await keep_alerts(self._ledger, texts, kinds=_KINDS)
        for (kind, subject), alert in wanted.items():
            await self._ledger.notices.restate(
                kind, subject, text=alert.text, count=alert.count, link=alert.link
            )
        return len(wanted)

    def _parts(self, health: Health) -> dict[tuple[str, str], _Wanted]:
        long_ago = health.at - _TROUBLE_FOR
        return {
            (PART, part.name): _Wanted(
                f"{part.name}: {part.sentence}. Fix: {part.fix}", 1, "/delivery"
            )
            for part in health.troubles
            if part.name not in _TOLD_OTHERWISE and part.since and part.since <= long_ago
        }

    async def _stuck(self, health: Health) -> dict[tuple[str, str], _Wanted]:
        if any(part.name in ("prefect", "minio") for part in health.troubles):
            # That is the cause, and it was reported already.
            return {}
        row = await self._ledger.notices.stuck(within=_STUCK_FOR, slots=self._settings.max_running)
        if row is None:
            return {}
        return {
            (DISPATCH, "builds"): _Wanted(
                f"{row['partitions']} partitions have been due since {row['since']:%H:%M:%S} UTC,"
                " and none is dispatched: is a service with the role dispatcher running?",
                row["partitions"],
                "/partitions?state=pending",
            )
        }

    async def _failures(self) -> dict[tuple[str, str], _Wanted]:
        found: dict[tuple[str, str], _Wanted] = {}
        for row in await self._ledger.notices.failure_causes():
            dataset, count = row["dataset"], row["partitions"]
            one = f"{dataset}/{row['name']}"
            who = one if count == 1 else f"{count} partitions of {dataset}"
            query = urlencode({"dataset": dataset, "state": PartitionState.FAILED})
            link = f"/partitions/{one}" if count == 1 else f"/partitions?{query}"
            found[FAILED, f"{dataset}: {row['cause']}"] = _Wanted(
                f"{who} failed: {row['error']}", count, link
            )
        return found

    async def _quarantined(self) -> dict[tuple[str, str], _Wanted]:
        return {
            (QUARANTINE, reason): _Wanted(
                f"{count} events could not be parsed ({reason.partition(':')[2]})"
                if count > 1
                else f"an event could not be parsed ({reason.partition(':')[2]})",
                count,
                "/quarantine",
            )
            for reason, count in (await self._ledger.notices.quarantine_causes()).items()
        }

    async def _tell_of_ledger(self, health: Health) -> None:
        away = next((p for p in health.troubles if p.name == "ledger"), None)
        if away is None:
            if self._told_of_ledger:
                self._told_of_ledger = False
                await self._notifier.tell("Quicksilver: resolved: the ledger is back", "")
            return
        is_long = away.since is not None and clock.now() - away.since >= _TROUBLE_FOR
        if is_long and not self._told_of_ledger:
            text = f"{away.sentence}. Fix: {away.fix}"
            self._told_of_ledger = await self._notifier.tell(
                "Quicksilver: the ledger is away", text
            )
