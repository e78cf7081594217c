"""Backfills, as the API and the command line give them."""

from datetime import date

from typing_extensions import TypedDict


class Scheduled(TypedDict):
    """What a backfill comes to: partitions that bronze holds in its range, and those to build."""

    dataset: str
    first: date
    last: date
    partitions: int
    scheduled: int
    skipped: int


class FailedPartition(TypedDict):
    """A partition that failed, and of what."""

    partition: str
    error: str | None


class Progress(TypedDict):
    """A range of a dataset: how many of its partitions are in each state, the first that failed."""

    dataset: str
    first: date
    last: date
    partitions: dict[str, int]
    failed: list[FailedPartition]
