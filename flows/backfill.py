"""`backfill`: a year of a dataset through the ledger, as a Prefect deployment."""

from datetime import date

from prefect import flow, get_run_logger

from quicksilver.errors import QuicksilverError
from quicksilver.flows.context import opened
from quicksilver.operators import backfill as work
from quicksilver.operators.shapes.backfills import FailedPartition


@flow(name="backfill")
async def backfill(
    year: int, dataset: str = "nyc_tlc.yellow_tripdata", rebuild: bool = False
) -> dict[str, int]:
    """Bring what bronze holds of a year to silver; what is built and unchanged is skipped.

    The builds are fired by the dispatcher, behind live events; this run only waits for them.

    Raises:
        QuicksilverError: bronze holds nothing of that year, or partitions failed.
    """
    logger = get_run_logger()
    async with opened() as lake:
        declared = lake.ledger.datasets.get(dataset)
        span = date(year, 1, 1), date(year, 12, 31)
        plan = await work.schedule(lake.ledger, lake.bronze, declared, *span, rebuild=rebuild)
        logger.info("%d of %d partitions to build", plan.scheduled, len(plan.partitions))
        done = -1
        failed: list[FailedPartition] = []
        async for ended, seen in work.watch(lake.ledger, dataset, *span):
            if ended != done:
                done, failed = ended, seen["failed"]
                logger.info("%d of %d done", done, sum(seen["partitions"].values()))
    if failed:
        raise QuicksilverError(
            "; ".join(f"{dataset}/{row['partition']}: {row['error']}" for row in failed)
        )
    return {"partitions": len(plan.partitions), "built": plan.scheduled, "skipped": plan.skipped}
