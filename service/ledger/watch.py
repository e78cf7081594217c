"""What the service watches by itself: lanes, measured by canaries, and alerts."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from quicksilver.ledger.outbox import ALERT_CLEARED, ALERT_RAISED, announce
from quicksilver.ledger.rows import LedgerPart, as_json
from quicksilver.support import clock
from quicksilver.support.postgres import Row

# A week of measures shows a trend; an alert that was cleared is history after three months.
_KEEP_CANARIES = timedelta(days=7)
_KEEP_ALERTS = timedelta(days=90)

# A lane that comes back may still bring a canary's event; after an hour it no longer matters.
_KEEP_CANARY_EVENTS = timedelta(hours=1)


class Monitoring(LedgerPart):
    """Canaries and alerts."""

    async def record_canary(
        self,
        bucket: str,
        keys: Sequence[str],
        at: datetime,
        *,
        fast_state: str,
        fast_lag: float | None,
        durable_state: str,
        durable_lag: float | None,
        fault: str | None,
    ) -> None:
        """Keep what a canary showed: `up`, `late`, `silent` or `unknown` for each lane."""
        async with self.database.transaction() as tx:
            await tx.run(
                "record_canary",
                bucket=bucket,
                keys=list(keys),
                at=at,
                fast_state=fast_state,
                fast_lag=fast_lag,
                durable_state=durable_state,
                durable_lag=durable_lag,
                fault=fault,
                before=at - _KEEP_CANARIES,
                events_before=at - _KEEP_CANARY_EVENTS,
            )

    async def lane_states(self) -> list[Row]:
        """Per bucket what the newest canary showed: states, lags in seconds, the fault."""
        async with self.database.transaction() as tx:
            return await tx.fetch("newest_canaries")

    async def canaries(self, *, bucket: str | None = None, limit: int = 100) -> list[Row]:
        """The last measures, newest first."""
        async with self.database.transaction() as tx:
            return await tx.fetch("list_canaries", bucket=bucket, limit=limit)

    async def lane_last_at(self, bucket: str) -> Row:
        """When the lanes `fast` and `durable` last brought anything from a bucket; or None."""
        async with self.database.transaction() as tx:
            row = await tx.one("lane_last_at", bucket=bucket)
        assert row is not None  # noqa: S101 - an aggregate always has a row
        return row

    async def overdue(self, since: Mapping[str, datetime]) -> list[Row]:
        """Partitions that are dirty since before their dataset's moment, oldest first."""
        items = [{"name": name, "since": moment} for name, moment in since.items()]
        async with self.database.transaction() as tx:
            return await tx.fetch("overdue_partitions", items=as_json(items))

    async def newest_landings(self) -> dict[str, Row]:
        """By dataset: when it last got something new (`landed_at`), and its `declared_at`."""
        async with self.database.transaction() as tx:
            return {row["dataset"]: row for row in await tx.fetch("newest_landings")}

    async def record_refusal(self, lane: str, at: datetime) -> None:
        """A receiver refused a lane's token."""
        async with self.database.transaction() as tx:
            await tx.run("record_refusal", lane=lane, at=at)

    async def refused_since(self, lane: str, moment: datetime) -> bool:
        """Whether any replica's receiver refused a lane's token after a moment."""
        async with self.database.transaction() as tx:
            row = await tx.one("refused_since", lane=lane, moment=moment)
        return bool(row and row["is_refused"])

    async def raise_alert(self, kind: str, subject: str, text: str) -> bool:
        """Open an alert; False when one of that kind and subject is open already."""
        async with self.database.transaction() as tx:
            raised = await tx.run(
                "raise_alert", kind=kind, subject=subject, text=text[:2000], now=clock.now()
            )
            if raised:
                payload = {"kind": kind, "subject": subject, "reason": text[:2000]}
                await announce(tx, ALERT_RAISED, _resource(kind, subject), payload, clock.now())
                await tx.run("wake", payload="alert")
        return bool(raised)

    async def clear_alert(self, kind: str, subject: str) -> bool:
        """Close an open alert; False when none is open."""
        now = clock.now()
        async with self.database.transaction() as tx:
            cleared = await tx.run("clear_alert", kind=kind, subject=subject, now=now)
            if cleared:
                await tx.run("prune_alerts", before=now - _KEEP_ALERTS)
                payload = {"kind": kind, "subject": subject, "reason": "cleared"}
                await announce(tx, ALERT_CLEARED, _resource(kind, subject), payload, now)
                await tx.run("wake", payload="alert")
        return bool(cleared)


def _resource(kind: str, subject: str) -> str:
    return f"quicksilver.alert.{kind}.{subject}"
