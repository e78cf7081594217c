"""What the project itself declares, for tests that build with it."""

from datetime import date, datetime
from typing import Any

from ruamel.yaml import YAML

from quicksilver.build.columns import Column
from quicksilver.build.layout import declared_columns
from quicksilver.domain.arrival import Arrival, Lane, arrivals
from quicksilver.domain.datasets import Dataset, Datasets, load_datasets
from quicksilver.domain.event import ObjectEvent
from quicksilver.domain.partition import prefixes
from tests.support.checkout import PROJECT

YELLOW = "nyc_tlc.yellow_tripdata"


def yellow_columns() -> tuple[Column, ...]:
    """Yellow taxi's columns, as the loader knows them."""
    return declared_columns(load_datasets(PROJECT / "datasets.yaml").get(YELLOW))


def columns_in_yaml(dataset: str = YELLOW) -> dict[str, Any]:
    """A dataset's `columns:` as the file has them, for declarations that tests write."""
    known: Any = YAML(typ="safe").load(PROJECT / "datasets.yaml")
    return known["datasets"][dataset]["columns"]


def folder(dataset: Dataset, dt: date) -> str:
    """The key prefix of a day's partition, or of the month or year that begins on it."""
    return prefixes(dataset, dataset.pattern.time_name(dt))[0]


def arrive(
    event: ObjectEvent, datasets: Datasets, lane: Lane, source: str, received_at: datetime
) -> Arrival:
    """An event at the one partition that it belongs to, or at none."""
    (found,) = arrivals(event, datasets, lane, source, received_at)
    return found
