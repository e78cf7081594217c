"""What a key pattern means: partitions by their names, and back to where they lie."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quicksilver.domain.datasets import Dataset
from quicksilver.domain.keys import Fit, parse_pattern
from quicksilver.domain.partition import Match, Partition, match, prefixes

DAILY = "r={region}/dt={dt}/{path}"
HOURLY = "topics/orders/year={year}/month={month}/day={day}/hour={hour}/{file}"


def dataset(key: str, **more: object) -> Dataset:
    return Dataset.model_validate(
        {"name": "d", "bucket": "lake", "key": key, "deployment": "load/x", **more}
    )


@pytest.mark.parametrize(
    ("pattern", "key", "name"),
    [
        ("b/dt={dt}/{file}", "b/dt=2024-05-01/a", "2024-05-01"),
        ("b/dt={dt:%Y%m%d}/{file}", "b/dt=20240501/a", "2024-05-01"),
        ("b/dt={dt:%Y-%m}/{file}", "b/dt=2024-05/a", "2024-05"),
        ("b/{dt:%Y}/{file}", "b/2024/a", "2024"),
        ("b/{dt:%Y/%m/%d}/{hour}/{file}", "b/2024/05/01/13/a", "2024-05-01T13"),
        ("b/{dt:%Y_%m_%d}_{n}_{file}", "b/2024_05_01_17_0.parquet", "2024-05-01/n=17"),
        ("b/{dt:%Y%j}/{file}", "b/2024060/a", "2024-02-29"),
        ("sales_{dt}.csv", "sales_2024-05-01.csv", "2024-05-01"),
        (HOURLY, "topics/orders/year=2024/month=05/day=01/hour=03/o+0+1.gz", "2024-05-01T03"),
        (HOURLY, "topics/orders/year=2024/month=5/day=1/hour=3/o", "2024-05-01T03"),
        (DAILY, "r=eu/dt=2024-02-29/x/y", "2024-02-29/region=eu"),
        ("t/{year}{month}{day}T{hour}{minute}/{file}", "t/20240501T1305/a", "2024-05-01T13:05"),
        ("t/partition={n}/{file}", "t/partition=0/a", "n=0"),
        ("b/o/{file}", "b/o/x", "all"),
    ],
)
def test_layouts_of_lakes(pattern: str, key: str, name: str) -> None:
    found = match(dataset(pattern), key)
    assert isinstance(found, Match)
    assert found.partition == Partition("d", name)
    assert any(key.startswith(prefix) for prefix in prefixes(dataset(pattern), name))


@pytest.mark.parametrize(
    ("pattern", "key", "why"),
    [
        (DAILY, "r=eu/dt=2024-02-30/x", "bad-date"),
        (HOURLY, "topics/orders/year=2024/month=13/day=01/hour=03/o", "bad-date"),
        (HOURLY, "topics/orders/year=2024/month=12/day=01/hour=24/o", "bad-date"),
        (HOURLY, "topics/orders/year=2024/month=12/day=01/o", "no-partition"),
        ("b/dt={dt}/{file}", "b/dt=20240501/a", "no-partition"),
        ("b/dt={dt}/{file}", "b/dt=2024-05-01/hour=00/a", "no-partition"),
        ("b/dt={dt}/{file}", "b/dt=__HIVE_DEFAULT_PARTITION__/a", "no-partition"),
        ("b/dt={dt}/{file}", "b/DT=2024-05-01/a", "outside-datasets"),
        ("b/dt={dt}/{file}", "b/dt=2024-05-01_$folder$", "no-partition"),
        ("b/dt={dt}/{file}", "b/dt=2024-05-01/a.parquet.crc", "other-file"),
        ("b/dt={dt}/{file}", "b/dt=2024-05-01/a copy.parquet", "other-file"),
        ("b/dt={dt}/{path}", "b/dt=2024-05-01/_temporary/0/a", "other-file"),
        ("b/dt={dt}/{path}", "b/dt=2024-05-01/__magic_job-1/a", "other-file"),
        ("b/dt={dt}/{path}", "b/dt=2024-05-01/x/.hidden", "other-file"),
    ],
)
def test_what_is_no_partition_says_why(pattern: str, key: str, why: str) -> None:
    assert match(dataset(pattern), key) == why


def test_unpadded_and_padded_months_are_one_partition_and_both_are_listed() -> None:
    assert prefixes(dataset(HOURLY), "2024-05-01T13") == (
        "topics/orders/year=2024/month=05/day=01/hour=13/",
        "topics/orders/year=2024/month=5/day=1/hour=13/",
    )


@pytest.mark.parametrize("key", ["in/2024-05-01.csv", "in/a/b.csv"])
def test_an_object_is_a_partition_of_its_own(key: str) -> None:
    each = dataset("in/{path}", each="object")
    found = match(each, key)
    assert isinstance(found, Match)
    assert prefixes(each, found.partition.name) == (key,)


@given(
    st.datetimes(),
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1),
)
def test_roundtrip_of_a_name_through_its_fields(moment: datetime, region: str) -> None:
    pattern = parse_pattern("t/{year}/{month}/{day}/{hour}/region={region}/{file}")
    name = f"{pattern.time_name(moment)}/region={region}"
    (prefix, *_) = pattern.prefixes_of(name)
    found = pattern.fit(f"{prefix}file")
    assert isinstance(found, Fit)
    assert pattern.name_of(found) == name


@pytest.mark.parametrize("name", ["2024-5-01T03", "2024-05-01", "x", "2024-05-01T03/region=eu", ""])
def test_a_name_of_another_pattern_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not a partition of"):
        prefixes(dataset(HOURLY), name)
