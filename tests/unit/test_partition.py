"""Key ↔ partition: round trips, and keys that mean nothing."""

from datetime import date
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from quicksilver.domain.datasets import Dataset, Datasets
from quicksilver.domain.partition import Match, Partition, matches
from tests.support.declared import folder

TRIPS = Dataset(
    name="nyc_tlc.yellow_tripdata",
    bucket="datasets",
    key="bronze/nyc_tlc/yellow_tripdata/dt={dt}/{file}",
    deployment="silver-build/nyc-tlc",
)
ODD = Dataset.model_validate(
    {
        "name": "odd",
        "bucket": "datasets",
        "key": "a.b+(c)/{dt}/part[1]/{file}",
        "files": "*",
        "deployment": "silver-build/odd",
        "ready": {"marker": "_SUCCESS"},
    }
)
DATASETS = Datasets(datasets=(TRIPS, ODD), path=Path("datasets.yaml"))

names = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1
).filter(lambda name: not name.startswith(("_", ".")))


@given(dt=st.dates(), name=names)
def test_roundtrip_of_a_partition_through_its_key(dt: date, name: str) -> None:
    for dataset, file in ((TRIPS, f"{name}.parquet"), (ODD, name)):
        key = folder(dataset, dt) + file
        assert matches(DATASETS, dataset.bucket, key) == (
            Match(Partition.of_day(dataset.name, dt), file),
        )


@given(bucket=st.sampled_from(["datasets", "other", ""]), key=st.text())
@example("datasets", "\ud800")
@example("datasets", "bronze/nyc_tlc/yellow_tripdata/dt=2024-01-01/\ud800.parquet")
def test_fuzz_any_key_is_a_match_or_a_reason(bucket: str, key: str) -> None:
    found = matches(DATASETS, bucket, key)
    assert isinstance(found, tuple) or found in {
        "canary",
        "unknown-bucket",
        "outside-datasets",
        "no-partition",
        "bad-date",
        "other-file",
    }


@given(tail=st.text())
def test_fuzz_any_tail_stays_below_the_folder(tail: str) -> None:
    key = "bronze/nyc_tlc/yellow_tripdata/dt=2024-01-01/" + tail
    found = matches(DATASETS, "datasets", key)
    if isinstance(found, tuple):
        assert [one.file for one in found] == [tail]
        assert "/" not in tail


@pytest.mark.parametrize(
    ("tail", "reason"),
    [
        ("dt=2024-02-30/data.parquet", "bad-date"),
        ("dt=0000-01-01/data.parquet", "bad-date"),
        ("dt=2024-13-01/data.parquet", "bad-date"),
        ("dt=٢٠٢٤-01-01/data.parquet", "no-partition"),
        ("dt=2024-1-1/data.parquet", "no-partition"),
        ("dt=20240101/data.parquet", "no-partition"),
        ("dt=2024-01-01/", "no-partition"),
        ("dt=2024-01-01//data.parquet", "no-partition"),
        ("dt=2024-01-01/../data.parquet", "no-partition"),
        ("dt=2024-01-01/nested/data.parquet", "no-partition"),
        ("DT=2024-01-01/data.parquet", "outside-datasets"),
        ("dt=2024-01-01/_SUCCESS", "other-file"),
        ("dt=2024-01-01/.data.parquet", "other-file"),
        ("dt=2024-01-01/..", "other-file"),
        ("dt=2024-01-01/data.parquet\n", "other-file"),
        ("dt=2024-01-01/data.csv", "other-file"),
        ("dt=2024-01-01/data.PARQUET", "other-file"),
    ],
)
def test_a_key_that_is_no_data_file_says_why(tail: str, reason: str) -> None:
    key = f"bronze/nyc_tlc/yellow_tripdata/{tail}"
    assert matches(DATASETS, "datasets", key) == reason


def test_the_marker_belongs_to_its_partition() -> None:
    found = matches(DATASETS, "datasets", "a.b+(c)/2024-01-01/part[1]/_SUCCESS")
    assert found == (Match(Partition.of_day("odd", date(2024, 1, 1)), "_SUCCESS"),)


def test_another_bucket_is_named_first() -> None:
    assert matches(DATASETS, "elsewhere", "bronze/x") == "unknown-bucket"


def test_a_partition_reads_as_its_path() -> None:
    assert str(Partition.of_day("odd", date(2024, 1, 1))) == "odd/2024-01-01"
