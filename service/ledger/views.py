"""What people and programs read of the ledger. Nothing here changes a build."""

from collections.abc import Sequence

from quicksilver.domain.partition import Partition
from quicksilver.ledger.rows import LedgerPart, where_of
from quicksilver.support.postgres import Row


class Views(LedgerPart):
    """The operators' side of the ledger."""

    async def partitions(
        self,
        *,
        dataset: str | None = None,
        state: str | None = None,
        limit: int = 100,
        after: Partition | None = None,
        names: Sequence[str] | None = None,
    ) -> list[Row]:
        """A page of partitions, ordered by dataset and name; `shown_state` says `paused` too."""
        async with self.database.transaction() as tx:
            return await tx.fetch(
                "list_partitions",
                dataset=dataset,
                state=state,
                limit=limit,
                after_dataset=after.dataset if after else None,
                after_partition=after.name if after else None,
                names=list(names) if names is not None else None,
            )

    async def partition(self, partition: Partition) -> Row | None:
        """One partition, or None when nothing of it ever landed."""
        rows = await self.partitions(dataset=partition.dataset, names=[partition.name], limit=1)
        return rows[0] if rows else None

    async def builds(self, partition: Partition, *, limit: int = 50) -> list[Row]:
        """The builds of a partition, newest first."""
        async with self.database.transaction() as tx:
            return await tx.fetch("partition_builds", limit=limit, **where_of(partition))

    async def build(self, build_id: int) -> Row | None:
        """A build's way: its partition, state and the moment of each stage."""
        async with self.database.transaction() as tx:
            return await tx.one("build_way", build=build_id)

    async def traceparent(self, partition: Partition) -> str | None:
        """The trace of a partition's newest event, where there is one."""
        async with self.database.transaction() as tx:
            row = await tx.one("partition_trace", **where_of(partition))
        return row["traceparent"] if row else None

    async def events(
        self,
        *,
        dataset: str | None = None,
        partition: str | None = None,
        bucket: str | None = None,
        key: str | None = None,
        reason: str | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> list[Row]:
        """Events, newest first; `before` is the last id of the page before.

        The reason `duplicate` finds events that came more than once, whatever became of them.
        """
        async with self.database.transaction() as tx:
            return await tx.fetch(
                "list_events",
                dataset=dataset,
                partition=partition,
                bucket=bucket,
                key=key,
                reason=reason,
                before=before,
                limit=limit,
            )

    async def state_counts(self) -> list[Row]:
        """Partitions by dataset and state, with the oldest change not built yet."""
        async with self.database.transaction() as tx:
            return await tx.fetch("count_states")

    async def dataset_rows(self) -> list[Row]:
        """Datasets as the ledger knows them: declared or not, paused or not."""
        async with self.database.transaction() as tx:
            return await tx.fetch("list_datasets")

    async def counters(self) -> dict[str, int]:
        """Running totals by name."""
        async with self.database.transaction() as tx:
            return {row["name"]: int(row["value"]) for row in await tx.fetch("list_counters")}
