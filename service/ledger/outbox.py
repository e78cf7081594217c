"""Announcements: written in the transaction that makes them true, sent later, at least once."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from quicksilver.domain.partition import Partition
from quicksilver.ledger.rows import LedgerPart, as_json
from quicksilver.support import clock
from quicksilver.support.postgres import Row, Transaction

LANDED = "quicksilver.partition.landed"
BUILT = "quicksilver.partition.built"
FAILED = "quicksilver.partition.failed"
SCHEMA = "quicksilver.partition.schema"
QUARANTINED = "quicksilver.event.quarantined"
ALERT_RAISED = "quicksilver.alert.raised"
ALERT_CLEARED = "quicksilver.alert.cleared"


async def announce(
    tx: Transaction, name: str, resource: str, payload: Mapping[str, Any], at: datetime
) -> None:
    """Write an announcement in the transaction that makes it true."""
    item = {"name": name, "resource": resource, "payload": dict(payload), "at": at}
    await tx.run("announce", items=as_json([item]))


async def announce_partition(
    tx: Transaction, name: str, partition: Partition, payload: Mapping[str, Any], at: datetime
) -> None:
    """Announce what became of a partition, under `quicksilver.partition.<dataset>.<name>`."""
    await announce(
        tx,
        name,
        f"quicksilver.partition.{partition.dataset}.{partition.name}",
        {
            "dataset": partition.dataset,
            "partition": partition.name,
            # What automations of earlier versions name.
            "dt": partition.name,
            **payload,
        },
        at,
    )


class Announcements(LedgerPart):
    """The outbox."""

    async def unsent(self, *, limit: int = 100) -> list[Row]:
        """The oldest unsent announcements."""
        async with self.database.transaction() as tx:
            return await tx.fetch("unsent_announcements", limit=limit)

    async def mark_sent(self, rows: Sequence[Row]) -> int:
        """Mark announcements as sent; how many were not yet."""
        ids = [row["id"] for row in rows]
        async with self.database.transaction() as tx:
            return await tx.run("mark_announced", ids=ids, now=clock.now())

    async def prune(self, *, keep: timedelta) -> None:
        """Drop what was sent long ago."""
        async with self.database.transaction() as tx:
            await tx.run("prune_announcements", before=clock.now() - keep)
