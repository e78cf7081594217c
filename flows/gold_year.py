"""`gold-year`: the mart and the tests that span a year, fired by a gate of `datasets.yaml`."""

from typing import Any

from prefect import flow, get_run_logger

from quicksilver.build.yearly import build_year
from quicksilver.orchestrator.blocks import settings_of_run


@flow(name="gold-year")
async def gold_year(year: int) -> dict[str, Any]:
    """Build `gold.yearly_summary` for a year whose partitions are all built.

    Raises:
        QuicksilverError: a test across partitions failed; the mart stays as it was.
    """
    result = await build_year(await settings_of_run(), year)
    get_run_logger().info("%d: %s", year, result)
    return result
