"""Finding partitions as a person does: what is in trouble first, by date, name, key or run."""

from collections.abc import Sequence
from datetime import date
from typing import Literal

from quicksilver.domain.partition import Partition
from quicksilver.ledger.rows import LedgerPart, where_of
from quicksilver.support.postgres import Row

# `newest` and `oldest` go by day, `changed` by the last change, the others by their greatest.
Sort = Literal["trouble", "newest", "oldest", "changed", "rows", "rejected"]


class Finding(LedgerPart):
    """Reads that look at every partition: for people, a page at a time."""

    async def neighbours(self, partition: Partition) -> Row:
        """The names of the partitions `before` and `after` one in its dataset; None at an end."""
        async with self.database.transaction() as tx:
            row = await tx.one("neighbours", **where_of(partition))
        assert row is not None  # noqa: S101 - it selects no table
        return row

    async def partitions(
        self,
        *,
        dataset: str | None = None,
        states: Sequence[str] | None = None,
        first: date | None = None,
        last: date | None = None,
        text: str | None = None,
        by_name: bool = False,
        after: Partition | None = None,
        sort: Sort = "trouble",
        skip: int = 0,
        limit: int = 100,
    ) -> list[Row]:
        """Failed ones first, then what runs and waits, then what is built, each newest first; or
        all by dataset and name, from `after` on.

        Rows are those of `views.partitions`, and `found`, how many there are without the limit,
        with their rows together, `found_rows` and `found_rejected`. `sort` orders otherwise.
        `text` is a part of a name or of an object's key, or the beginning of a run's id.
        """
        async with self.database.transaction() as tx:
            return await tx.fetch(
                "find_partitions",
                dataset=dataset,
                states=list(states) if states else None,
                first=first,
                last=last,
                text=text,
                by_name=by_name,
                after_dataset=after.dataset if after else None,
                after_partition=after.name if after else None,
                sort=sort,
                skip=skip,
                limit=limit,
            )

    async def state_counts(self, dataset: str, first: date, last: date) -> dict[str, int]:
        """How many partitions of a range of days are in each state, without those that are gone."""
        async with self.database.transaction() as tx:
            rows = await tx.fetch("count_range", dataset=dataset, first=first, last=last)
        return {row["shown_state"]: row["partitions"] for row in rows}
