"""What the project itself declares, for tests that build with it."""

from typing import Any

from ruamel.yaml import YAML

from quicksilver.build.columns import Column
from quicksilver.build.layout import declared_columns
from quicksilver.domain.datasets import load_datasets
from tests.support.checkout import PROJECT

YELLOW = "nyc_tlc.yellow_tripdata"


def yellow_columns() -> tuple[Column, ...]:
    """Yellow taxi's columns, as the loader knows them."""
    return declared_columns(load_datasets(PROJECT / "datasets.yaml").get(YELLOW))


def columns_in_yaml(dataset: str = YELLOW) -> dict[str, Any]:
    """A dataset's `columns:` as the file has them, for declarations that tests write."""
    known: Any = YAML(typ="safe").load(PROJECT / "datasets.yaml")
    return known["datasets"][dataset]["columns"]
