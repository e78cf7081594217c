"""Roles, declared datasets, totals, and what is pruned."""

from datetime import datetime, timedelta

from quicksilver.ledger.rows import LedgerPart, as_json
from quicksilver.support import clock


class Upkeep(LedgerPart):
    """What keeps the ledger in order."""

    async def beat(self, owner: str) -> None:
        """A dispatcher is alive."""
        async with self.database.transaction() as tx:
            await tx.run("beat", owner=owner, now=clock.now())

    async def retire(self, owner: str) -> None:
        """A dispatcher ends in good order: its claims need not wait for the lease."""
        async with self.database.transaction() as tx:
            await tx.run("retire_dispatcher", owner=owner)

    async def dispatchers_alive(self, *, within: timedelta) -> int:
        """How many dispatchers were heard of in that time."""
        async with self.database.transaction() as tx:
            row = await tx.one("dispatchers_alive", alive_since=clock.now() - within)
        return int(row["alive"]) if row else 0

    async def sync_datasets(self) -> None:
        """Make the declared datasets known to the database: claims join them."""
        items = [
            {
                "name": d.name,
                "newest_first": d.newest_first,
                "max_running": d.max_running,
                "priority": d.priority,
            }
            for d in self.datasets.datasets
        ]
        async with self.database.transaction() as tx:
            await tx.run("sync_datasets", items=as_json(items))
            await tx.run("undeclare_datasets", names=[d.name for d in self.datasets.datasets])

    async def raise_build_ids(self, above: int) -> bool:
        """Let coming builds have ids above that; whether they would not have had them."""
        async with self.database.transaction() as tx:
            return await tx.one("raise_build_ids", above=above) is not None

    async def next_due(self) -> datetime | None:
        """When a partition becomes due by the clock alone."""
        async with self.database.transaction() as tx:
            row = await tx.one("next_due", now=clock.now())
        return row["due_at"] if row else None

    async def count_up(self, name: str, by: int = 1) -> None:
        """Add to a running total that outlives the process."""
        async with self.database.transaction() as tx:
            await tx.run("count_up", name=name, by=by)

    async def prune(self, *, keep: timedelta) -> int:
        """Drop decided events and dispatchers older than `keep`; how many events went.

        A call drops a bounded number: call again until it answers 0.
        """
        before = clock.now() - keep
        async with self.database.transaction() as tx:
            await tx.run("forget_dispatchers", before=before)
            return await tx.run("prune_events", before=before)
