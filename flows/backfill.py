"""`backfill`: a year of a dataset through the ledger, as a Prefect deployment."""

from datetime import date

from prefect import flow, get_run_logger

from quicksilver.errors import QuicksilverError
from quicksilver.flows.context import opened
from quicksilver.operators import backfill as work
from quicksilver.support.postgres import Row


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
        plan = await work.schedule(
            lake.ledger,
            lake.bronze,
            declared,
            date(year, 1, 1),
            date(year, 12, 31),
            rebuild=rebuild,
        )
        logger.info("%d of %d partitions to build", plan.scheduled, len(plan.partitions))
        done = -1

        def show(built: int, failed: list[Row], _paused: int) -> None:
            nonlocal done
            if built + len(failed) != done:
                done = built + len(failed)
                logger.info("%d of %d done", done, len(plan.partitions))

        failed = await work.watch(lake.ledger, declared, plan, show)
    if failed:
        raise QuicksilverError(
            "; ".join(f"{row['dataset']}/{row['partition']}: {row['error']}" for row in failed)
        )
    return {"partitions": len(plan.partitions), "built": plan.scheduled, "skipped": plan.skipped}
