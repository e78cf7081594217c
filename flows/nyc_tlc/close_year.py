"""The gate at the end of an ingest: what spans partitions is built when all of them are."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from quicksilver.build.yearly import build_year
from quicksilver.domain.partition import Partition
from quicksilver.flows.context import opened
from quicksilver.flows.ensure_built import ensure_built
from quicksilver.flows.silver_build import silver_build

# Twelve full-size months take minutes, a backlog in front of them more.
_PATIENCE = timedelta(hours=2)


async def close_year(dataset: str, year: int, months: Sequence[date]) -> dict[str, Any]:
    """Wait for a year's partitions, then build the mart and run the tests that span them.

    Returns:
        `{"months": n, "rows": n, …}` as the yearly build reports it.

    Raises:
        QuicksilverError: a partition is failed, paused or not built in time.
    """
    async with opened() as lake:
        partitions = [Partition.of_day(dataset, month) for month in sorted(months)]

        async def build_here(partition: Partition) -> None:
            await silver_build(partition.dataset, partition.name)

        await ensure_built(lake, partitions, build_here, patience=_PATIENCE)
        return await build_year(lake.settings, year)
