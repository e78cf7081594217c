"""Your own flow. It needs no line of Quicksilver's: its run's end is the partition's."""

from prefect import flow, get_run_logger


@flow(name="load-sales")
def load_sales(day: str, keys: list[str]) -> None:
    """Load one day's files, named by `keys`; at least once, the newest files win."""
    get_run_logger().info("%s: %d files: %s", day, len(keys), ", ".join(keys))
