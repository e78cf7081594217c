"""What the operators' overview reads, as little as it shows."""

from collections.abc import Sequence
from datetime import date, timedelta

from quicksilver.ledger.rows import LedgerPart
from quicksilver.support import clock
from quicksilver.support.postgres import Row

# A fifth of the rows refused is more than the odd bad record.
REJECTED_SHARE = 0.2


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
            return await tx.fetch(
                "calendar",
                dataset=dataset,
                first=first,
                last=last,
                rejected_share=REJECTED_SHARE,
            )

    async def calendar_months(self, dataset: str) -> list[Row]:
        """The months that hold partitions of a dataset, in order: `partitions`, `days`, `failed`,
        `waiting`, `running`."""
        async with self.database.transaction() as tx:
            return await tx.fetch("calendar_months", dataset=dataset)

    async def last_partitions(self, most: int) -> dict[str, list[Row]]:
        """The newest partitions of each dataset, at most so many, in the order of their names."""
        async with self.database.transaction() as tx:
            rows = await tx.fetch("last_partitions", most=most, rejected_share=REJECTED_SHARE)
        return _by_dataset(rows)

    async def recent_builds(self, most: int, dataset: str | None = None) -> dict[str, list[Row]]:
        """The newest builds of each dataset that ended, oldest first; `seconds` of their own."""
        async with self.database.transaction() as tx:
            return _by_dataset(await tx.fetch("recent_builds", most=most, dataset=dataset))

    async def rows_a_day(self) -> dict[str, int]:
        """Rows that builds of each dataset read within the last day."""
        async with self.database.transaction() as tx:
            rows = await tx.fetch("rows_a_day", since=clock.now() - timedelta(days=1))
        return {row["dataset"]: row["rows_bronze"] or 0 for row in rows}

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


def _by_dataset(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["dataset"], []).append(row)
    return found
