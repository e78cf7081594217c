"""A declaration in words: the example key is one that really belongs to the dataset."""

from datetime import UTC, datetime
from typing import Any

import pytest

from quicksilver.domain.datasets import Dataset
from quicksilver.domain.partition import Match, match
from quicksilver.operators.declared import example_key, in_words

_NOW = datetime(2024, 5, 3, 13, 7, tzinfo=UTC)


def _dataset(**fields: Any) -> Dataset:
    return Dataset.model_validate(
        {"name": "shop.orders", "bucket": "lake", "deployment": "load/prod", **fields}
    )


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"key": "a/dt={dt}/{file}", "files": "*.parquet"}, "2024-05-03"),
        ({"key": "a/{dt:%Y%m%d}.csv"}, "2024-05-03"),
        ({"key": "a/year={year}/month={month}/{path}"}, "2024-05"),
        ({"key": "a/region={region}/dt={dt}/hour={hour}/{file}"}, "2024-05-03T13/region=example"),
        ({"key": "in/{file}", "each": "object"}, "example"),
        ({"key": "all/{file}"}, "all"),
    ],
)
def test_the_example_key_is_the_datasets(fields: dict[str, Any], name: str) -> None:
    dataset = _dataset(**fields)
    key = example_key(dataset, _NOW)
    found = match(dataset, key)
    assert isinstance(found, Match), key
    assert found.partition.name == name
    assert f"{key} belongs to partition {name}." in dict(in_words(dataset, key))["What lands"]


def test_a_partition_of_another_declaration_is_no_example() -> None:
    dataset = _dataset(key="a/dt={dt}/{file}")
    assert example_key(dataset, _NOW, "2023-01-01").startswith("a/dt=2023-01-01/")
    assert example_key(dataset, _NOW, "2023/region=eu").startswith("a/dt=2024-05-03/")


def test_each_part_is_a_sentence() -> None:
    dataset = _dataset(
        key="a/dt={dt}/{file}",
        ready={"marker": "_SUCCESS", "quiet": "90s", "max_wait": "2h"},
        when_gone="remove",
        fresh_within="1d",
        then=["report/daily"],
        max_running=1,
    )
    words = dict(in_words(dataset, example_key(dataset, _NOW)))
    assert words["When it is ready"] == (
        "When _SUCCESS is there and nothing has changed for 90 seconds, and after 2 hours at the"
        " latest."
    )
    assert "at most 1 at once. Then report/daily is fired." in words["How it is built"]
    assert words["If bronze loses it"] == "Silver is emptied of it."
    assert "nothing new landed for 1 day" in words["When people are told"]
