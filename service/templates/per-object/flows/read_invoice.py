"""Your own flow. It needs no line of Quicksilver's: its run's end is the object's."""

from prefect import flow, get_run_logger


@flow(name="read-invoice")
def read_invoice(key: str, etag: str, size: int) -> None:
    """Read one object; at least once for each of its versions, `etag` says which."""
    get_run_logger().info("%s: %d bytes, version %s", key, size, etag)
