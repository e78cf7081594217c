"""The fallback for lakes whose events do not reach Quicksilver: poll, then the same ledger."""

import asyncio
from datetime import date, timedelta
from time import monotonic

from prefect import flow, get_run_logger, task

from quicksilver.domain.partition import Partition, prefixes
from quicksilver.flows.context import opened
from quicksilver.flows.ensure_built import ensure_built
from quicksilver.flows.silver_build import silver_build


@task(name="wait_for_partition")
async def wait_for_partition(
    prefix: str, timeout_minutes: float = 60, poll_seconds: float = 30
) -> int:
    """Wait until an object lies under `prefix` (`bucket/key…`, with or without `s3://`).

    Returns:
        How many objects lie there.

    Raises:
        TimeoutError: nothing after `timeout_minutes`; the message names the prefix.
    """
    bucket, _, key = prefix.removeprefix("s3://").partition("/")
    deadline = monotonic() + timeout_minutes * 60
    async with opened() as lake:
        while True:
            objects = await lake.bronze.list_folder(bucket, key)
            if objects:
                return len(objects)
            left = deadline - monotonic()
            if left <= 0:
                raise TimeoutError(
                    f"nothing landed under s3://{bucket}/{key} within {timeout_minutes:g} minutes"
                )
            await asyncio.sleep(min(poll_seconds, left))


@flow(name="silver-after-bronze")
async def silver_after_bronze(
    dataset: str = "nyc_tlc.yellow_tripdata",
    dt: str | None = None,
    timeout_minutes: float = 60,
    poll_seconds: float = 30,
) -> dict[str, object]:
    """Poll for a partition (default: the month of 30 days ago) and see it built, once.

    Raises:
        TimeoutError: the partition did not land.
        QuicksilverError: it landed and could not be built.
    """
    logger = get_run_logger()
    async with opened() as lake:
        declared = lake.ledger.datasets.get(dataset)
        month = (date.today() - timedelta(days=30)).replace(day=1)  # noqa: DTZ011
        partition = Partition(dataset, dt or declared.pattern.time_name(month))
        found = await wait_for_partition(
            f"{declared.bucket}/{prefixes(declared, partition.name)[0]}",
            timeout_minutes,
            poll_seconds,
        )
        logger.info("%s landed with %d objects", partition, found)

        async def build_here(partition: Partition) -> None:
            logger.warning("no dispatcher is alive: building %s in this run", partition)
            await silver_build(partition.dataset, partition.name)

        rows = await ensure_built(
            lake,
            [partition],
            build_here,
            patience=timedelta(minutes=timeout_minutes),
        )
    return {"dataset": dataset, "dt": partition.name, "generation": rows[0]["built_generation"]}
