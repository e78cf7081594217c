"""What the operators' overview reads, as little as it shows."""

from collections.abc import Sequence
from datetime import date

from quicksilver.ledger.rows import LedgerPart
from quicksilver.support import clock
from quicksilver.support.postgres import Row


class Overview(LedgerPart):
    """Calendars, the unfinished, and whether anything changed."""

    async def calendar_spans(self) -> dict[str, Row]:
        """By dataset: `first_dt`, `last_dt`, and `is_monthly` if all begin a month."""
        async with self.database.transaction() as tx:
            return {row["dataset"]: row for row in await tx.fetch("calendar_span")}

    async def calendar(
        self, dataset: str, *, first: date | None = None, last: date | None = None
    ) -> list[Row]:
        """A dataset's partitions from `first` to `last`, both included, in order."""
        async with self.database.transaction() as tx:
            return await tx.fetch("calendar", dataset=dataset, first=first, last=last)

    async def unfinished(self, states: Sequence[str], *, limit: int = 50) -> list[Row]:
        """Partitions in any of the shown states, newest first, with their active build."""
        async with self.database.transaction() as tx:
            return await tx.fetch("unfinished", states=list(states), limit=limit, now=clock.now())

    async def quarantine_size(self) -> Row:
        """How many `bodies` and `bytes` are in quarantine, and when one was `last_seen`."""
        async with self.database.transaction() as tx:
            row = await tx.one("quarantine_size")
        assert row is not None  # noqa: S101 - an aggregate always has a row
        return row

    async def pulse(self) -> str:
        """A text that differs whenever what an operator sees does."""
        async with self.database.transaction() as tx:
            row = await tx.one("pulse")
        return str(row["pulse"]) if row else ""
