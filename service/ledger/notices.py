"""Causes of trouble: grouped failures, and the alerts that people were told of."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from quicksilver.domain.partition import Partition
from quicksilver.ledger.rows import LedgerPart, partition_of
from quicksilver.support import clock
from quicksilver.support.postgres import Row

# How long a replica that died while sending delays the next try.
_LEASE = timedelta(seconds=60)

_CAUSES = 200
_AT_ONCE = 50


# Alerts that an unreachable store causes, and how soon its own alert follows.
_CONSEQUENCES = ["sweep", "lane", "canary", "misfit"]
_CAUSE_WITHIN = timedelta(seconds=25)


class Notices(LedgerPart):
    """Alerts as people see them."""

    async def failure_causes(self) -> list[Row]:
        """Failed partitions by `dataset` and `cause`: their number, `since` when, an `error`."""
        async with self.database.transaction() as tx:
            return await tx.fetch("failure_causes", limit=_CAUSES)

    async def quarantine_causes(self) -> dict[str, int]:
        """How many bodies are in quarantine for each reason code."""
        async with self.database.transaction() as tx:
            return {row["reason"]: row["bodies"] for row in await tx.fetch("quarantine_causes")}

    async def partitions_of(self, dataset: str, cause: str, *, limit: int) -> list[Partition]:
        """The failed partitions of a cause, in order."""
        async with self.database.transaction() as tx:
            rows = await tx.fetch("partitions_of_cause", dataset=dataset, cause=cause, limit=limit)
        return [partition_of(row) for row in rows]

    async def restate(self, kind: str, subject: str, *, text: str, count: int, link: str) -> None:
        """Bring an open alert's words and number up to date, without another message."""
        async with self.database.transaction() as tx:
            await tx.run(
                "restate_alert",
                kind=kind,
                subject=subject,
                text=text[:2000],
                count=count,
                link=link,
            )

    async def alerts(self, *, is_open: bool = True, limit: int = 100) -> list[Row]:
        """Alerts, open ones first, newest first; `silenced_until` is None once that is over."""
        async with self.database.transaction() as tx:
            return await tx.fetch("list_alerts", is_open=is_open, limit=limit, now=clock.now())

    async def alert(self, alert: int) -> Row | None:
        """The open alert with this id, or None."""
        async with self.database.transaction() as tx:
            return await tx.one("open_alert", id=alert)

    async def lease(self, *, older_than: timedelta) -> list[Row]:
        """Take the alerts to send; other replicas leave them alone for a minute.

        An alert must be open for `older_than`, so that its number is known; a silenced one waits,
        and so does an alert that an unreachable store causes.
        """
        now = clock.now()
        async with self.database.transaction() as tx:
            return await tx.fetch(
                "lease_notices",
                now=now,
                until=now + _LEASE,
                raised_before=now - older_than,
                consequences=_CONSEQUENCES,
                consequences_before=now - _CAUSE_WITHIN,
                limit=_AT_ONCE,
            )

    async def mark_told(self, ids: Iterable[int], *, ended: Iterable[int]) -> None:
        """Note that these alerts were sent, or for the `ended` ones their end."""
        async with self.database.transaction() as tx:
            await tx.run("mark_told", ids=list(ids), ended=list(ended), now=clock.now())

    async def release(self, ids: Iterable[int]) -> None:
        """Sending failed: it will be tried again."""
        async with self.database.transaction() as tx:
            await tx.run("release_notices", ids=list(ids))

    async def silence(self, alert: int, until: datetime, actor: str, reason: str) -> Row | None:
        """Silence an open alert until then; its kind and subject, None if it is not open."""
        async with self.database.transaction() as tx:
            return await tx.one("silence_alert", id=alert, until=until, actor=actor, reason=reason)

    async def stuck(self, *, within: timedelta, slots: int) -> Row | None:
        """How many partitions are due, `since` when, though slots are free and none is claimed."""
        before = clock.now() - within
        async with self.database.transaction() as tx:
            row = await tx.one("stuck_dispatch", before=before, slots=slots)
        return row if row and row["partitions"] else None
