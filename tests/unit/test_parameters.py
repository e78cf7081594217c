"""What a fired run is given, from templates and what is known of a build."""

from typing import Any

import pytest

from quicksilver.domain.datasets import Dataset
from quicksilver.domain.manifest import ManifestFile
from quicksilver.domain.parameters import Asked, fill, parameters_of
from quicksilver.domain.partition import Partition

FILE = ManifestFile("topics/orders/2024/05/01/13/eu/a.json", "e1", "v1", 7)


def declared(**more: Any) -> Dataset:
    return Dataset.model_validate(
        {
            "name": "shop.orders",
            "bucket": "lake",
            "key": "topics/orders/{year}/{month}/{day}/{hour}/{region}/{file}",
            "deployment": "load-sales/prod",
            **more,
        }
    )


ASKED = Asked(Partition("shop.orders", "2024-05-01T13/region=eu"), 3, 2, (FILE,))


def test_templates_are_filled_and_a_field_alone_keeps_its_type() -> None:
    dataset = declared(
        parameters={
            "day": "{dt}",
            "hour": "{hour}",
            "where": "{region}:{partition}",
            "n": "{generation}",
            "attempt": "{attempt}",
            "keys": "{files}",
            "at": "s3://{bucket}/{prefix}",
            "deep": {"list": ["{size}", 5, True]},
            "plain": "text",
        }
    )
    assert parameters_of(dataset, ASKED) == {
        "day": "2024-05-01",
        "hour": "13",
        "where": "eu:2024-05-01T13/region=eu",
        "n": 3,
        "attempt": 2,
        "keys": [FILE.key],
        "at": "s3://lake/topics/orders/2024/05/01/13/eu/",
        "deep": {"list": ["{size}", 5, True]},
        "plain": "text",
    }


def test_without_templates_a_flow_of_ones_own_gets_what_it_takes() -> None:
    taken = {"partition", "region", "other"}
    assert parameters_of(declared(), ASKED, taken) == {
        "partition": "2024-05-01T13/region=eu",
        "region": "eu",
    }
    assert parameters_of(declared(), ASKED) == {}


def test_our_own_flow_gets_what_it_always_got() -> None:
    dataset = declared(deployment="silver-build/nyc-tlc", key="t/dt={dt}/{file}")
    asked = Asked(Partition("shop.orders", "2024-05-01"), 1, 1)
    assert parameters_of(dataset, asked) == {
        "dataset": "shop.orders",
        "dt": "2024-05-01",
        "generation": 1,
    }


def test_an_object_tells_of_itself() -> None:
    dataset = declared(key="in/{dt:%Y%m%d}_{path}", each="object", parameters={"k": "{key}",
        "e": "{etag}", "s": "{size}", "v": "{version_id}", "d": "{dt}"})  # fmt: skip
    file = ManifestFile("in/20240501_x/y.csv", "e2", None, 12)
    asked = Asked(Partition("shop.orders", "20240501_x/y.csv"), 1, 1, (file,))
    assert parameters_of(dataset, asked) == {
        "k": "in/20240501_x/y.csv",
        "e": "e2",
        "s": 12,
        "v": None,
        "d": "2024-05-01",
    }


@pytest.mark.parametrize(
    ("template", "unknown"),
    [
        ("{dt} {region}", []),
        ({"a": ["{nobody}", "{key}"]}, ["key", "nobody"]),
        (7, []),
    ],
)
def test_a_field_that_nobody_knows_is_named(template: Any, unknown: list[str]) -> None:
    assert declared().unknown_fields(template) == unknown


def test_what_is_no_field_stays_as_it_is() -> None:
    assert fill("{not here} {}", {}) == "{not here} {}"
