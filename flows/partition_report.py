"""`partition-report`: the example of a deployment that a user's own automation fires."""

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact

from quicksilver.domain.partition import Partition
from quicksilver.errors import QuicksilverError
from quicksilver.flows.context import opened


@flow(name="partition-report")
async def partition_report(dataset: str, dt: str) -> None:
    """Leave a markdown artifact with what silver holds of a partition.

    Raises:
        QuicksilverError: nothing of it ever landed.
    """
    async with opened() as lake:
        row = await lake.ledger.views.partition(Partition(dataset, dt))
    if row is None:
        raise QuicksilverError(f"nothing of {dataset}/{dt} ever landed")
    markdown = (
        f"# {dataset} {dt}\n\n| rows | |\n| --- | ---: |\n"
        f"| bronze | {row['rows_bronze']} |\n| silver | {row['rows_silver']} |\n"
        f"| rejected | {row['rows_rejected']} |\n\nGeneration {row['built_generation']}.\n"
    )
    await create_markdown_artifact(key="partition-report", markdown=markdown)  # pyright: ignore[reportGeneralTypeIssues]
    get_run_logger().info("%s/%s: %s rows in silver", dataset, dt, row["rows_silver"])
