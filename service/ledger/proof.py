"""Proof that nothing was lost: bronze, ledger and silver compared, and each object's source."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from quicksilver.domain.partition import Partition
from quicksilver.ledger.rows import LedgerPart, partition_of
from quicksilver.support import clock
from quicksilver.support.postgres import Row

# How long a sweep's numbers are worth keeping: a month of them shows a trend.
_KEEP_SWEEPS = timedelta(days=30)


class Proof(LedgerPart):
    """What each sweep saw, set against what the ledger holds."""

    async def record_sweep(
        self,
        dataset: str,
        at: datetime,
        *,
        listed: int,
        found: int,
        gone: int,
        names: Iterable[str],
        unmatched: int = 0,
        unmatched_keys: Sequence[str] = (),
    ) -> None:
        """Keep what a comparison of a whole dataset saw; `at` is when its listing began.

        `unmatched` counts objects that fit no partition, some of which are named.
        """
        async with self.database.transaction() as tx:
            await tx.run(
                "record_sweep",
                dataset=dataset,
                at=at,
                listed=listed,
                found=found,
                gone=gone,
                names=sorted(set(names)),
                unmatched=unmatched,
                unmatched_keys=list(unmatched_keys),
                before=clock.now() - _KEEP_SWEEPS,
            )

    async def compare(self) -> list[Row]:
        """Per dataset: partitions listed in bronze, in the ledger, built at the newest generation.

        The numbers `unknown` (listed, no event), `newer` (landed since the listing), `missing`
        (known, not listed) and `unbuilt` explain each difference, with up to 20 names each;
        `unmatched` are objects listed that fit no partition, its names some of their keys.
        `compared_at` and `in_bronze` are None before the first sweep.
        """
        async with self.database.transaction() as tx:
            return await tx.fetch("compare_bronze")

    async def published(self, dataset: str) -> dict[Partition, int]:
        """Of each partition that is built and at rest, the build that published it last."""
        async with self.database.transaction() as tx:
            rows = await tx.fetch("published_builds", dataset=dataset)
        return {partition_of(row): row["build_id"] for row in rows}

    async def origins(self, *, last: int = 2000) -> list[Row]:
        """Per dataset, which sources reported the object versions among the last events.

        `fast` is every version that the fast lane brought; `only_durable`, `only_sweep`
        (missed by notifications) and `only_poll` are those that nothing faster brought.
        """
        async with self.database.transaction() as tx:
            return await tx.fetch("origins", last=last)

    async def lanes(self, *, last: int = 1000) -> Row:
        """Lag of each lane in seconds (median, 95th percentile; None when silent), and shares."""
        async with self.database.transaction() as tx:
            row = await tx.one("measure_lanes", last=last)
        assert row is not None  # noqa: S101 - an aggregate always has a row
        return row
