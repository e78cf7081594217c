"""The announcer: sends the ledger's announcements as Prefect events, for users' automations.

Best effort on Prefect's side (its events may be lost), at least once on ours.
"""

from uuid import uuid4

import structlog

from quicksilver.ledger import Ledger
from quicksilver.ledger.outbox import SCHEMA
from quicksilver.orchestrator.deployments import Deployments
from quicksilver.settings import Settings
from quicksilver.support.postgres import Row

_log = structlog.get_logger(__name__)

TICK = 15.0
_BATCH = 100


class Announcer:
    """Sends announcements."""

    def __init__(self, settings: Settings, ledger: Ledger, deployments: Deployments) -> None:
        self._url = settings.url
        self._ledger = ledger
        self._deployments = deployments

    async def run_once(self) -> int:
        """Send all waiting announcements, one batch after another; how many.

        Raises:
            LedgerUnavailableError, PrefectUnavailableError: the batch is not marked, and is sent
                again by the next pass.
        """
        sent = 0
        while count := await self._send_batch():
            sent += count
            if count < _BATCH:
                break
        return sent

    async def _send_batch(self) -> int:
        rows = await self._ledger.outbox.unsent(limit=_BATCH)
        if rows:
            for row in rows:
                if row["name"] == SCHEMA:
                    _log.warning("columns that nobody declared", **row["payload"])
            await self._deployments.emit([self._event(row) for row in rows])
            await self._ledger.outbox.mark_sent(rows)
        return len(rows)

    def _event(self, row: Row) -> dict[str, object]:
        payload = dict(row["payload"])
        if "partition" in payload:
            payload["link"] = f"{self._url}/partitions/{payload['dataset']}/{payload['partition']}"
        else:
            payload["link"] = self._url
        # An automation's template can read the resource's labels most easily.
        labels = {
            f"quicksilver.{name}": str(payload[name])
            for name in ("dataset", "partition", "dt", "reason", "link", "generation")
            if payload.get(name) is not None
        }
        return {
            "id": str(uuid4()),
            "occurred": row["at"].isoformat(),
            "event": row["name"],
            "resource": {"prefect.resource.id": row["resource"], **labels},
            "payload": payload,
        }
