"""Roles, declared datasets, totals, and what is pruned."""

from datetime import datetime, timedelta
from time import monotonic

from quicksilver.ledger.rows import LedgerPart, as_json
from quicksilver.support import clock


class Upkeep(LedgerPart):
    """What keeps the ledger in order."""

    async def beat(self, owner: str) -> None:
        """Note that a dispatcher is alive."""
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

    async def set_clock(self) -> None:
        """Use the clock of the ledger's Postgres from here on: every host judges deadlines."""
        async with self.database.transaction() as tx:
            before = monotonic()
            row = await tx.one("present_time")
            after = monotonic()
        if row is not None:
            clock.tell(row["moment"], (before + after) / 2)

    async def sync_datasets(self) -> None:
        """Make the declared datasets known to the database: claims join them.

        Datasets that others declare stay: `undeclare_datasets` is the dispatcher's.
        """
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

    async def undeclare_datasets(self) -> list[str]:
        """Stop claims of datasets that are no longer declared; their names."""
        names = [d.name for d in self.datasets.datasets]
        async with self.database.transaction() as tx:
            return [r["name"] for r in await tx.fetch("undeclare_datasets", names=names)]

    async def raise_build_ids(self, above: int) -> bool:
        """Give later builds ids above `above`; whether that changed anything.

        If it did, the warehouse knows another ledger than this one, which was made anew or
        restored. Prefect may know its keys, so it gets a new identity.
        """
        async with self.database.transaction() as tx:
            is_raised = await tx.one("raise_build_ids", above=above) is not None
            if is_raised:
                await tx.run("renew_identity", now=clock.now())
        return is_raised

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
        """Drop what is older than `keep` and decides nothing any more; how many rows.

        These are decided events, the manifests of builds that ended, the log of actions, and the
        firings of gates that fired again since. Builds stay: they keep generations and attempts.

        A call drops a bounded number: call again until it answers 0.
        """
        before = clock.now() - keep
        async with self.database.transaction() as tx:
            await tx.run("forget_dispatchers", before=before)
            await tx.run("forget_sessions", now=clock.now())
            return sum(
                [
                    await tx.run(name, before=before)
                    for name in ("prune_events", "prune_manifests", "prune_actions", "prune_gates")
                ]
            )
