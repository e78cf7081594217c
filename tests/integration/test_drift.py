"""What TLC really publishes: columns come, go, change their type and their name."""

import json
import os
from datetime import date

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import SecretStr

from quicksilver.build.columns import ArrowTable
from quicksilver.build.yearly import build_year
from quicksilver.domain.datasets import load_datasets
from quicksilver.domain.manifest import ManifestFile
from quicksilver.errors import BronzeFileError, BronzeUnavailableError
from quicksilver.flows.nyc_tlc.generated import Flaws, generate_month
from tests.support.checkout import PROJECT
from tests.support.partition_stage import (
    PartitionStage,
    make_stage,
    renamed,
    retyped,
    tlc_months,
)
from tests.support.servers import MinioServer

JANUARY, FEBRUARY = date(2019, 1, 1), date(2019, 2, 1)


@pytest.fixture
def stage(warehouse_url: str, minio_server: MinioServer) -> PartitionStage:
    return make_stage(warehouse_url, minio_server)


def month(dt: date = JANUARY, rows: int = 200) -> ArrowTable:
    return generate_month(dt.year, dt.month, rows)


def newer(table: ArrowTable) -> ArrowTable:
    """The same trips as TLC would write them in 2025, outside the congestion relief zone."""
    table = renamed(table, airport_fee="Airport_fee")
    table = table.append_column("cbd_congestion_fee", pa.nulls(table.num_rows))
    return retyped(
        table,
        VendorID=pa.int32(),
        PULocationID=pa.int32(),
        DOLocationID=pa.int32(),
        passenger_count=pa.int64(),
        RatecodeID=pa.int64(),
        store_and_fwd_flag=pa.large_string(),
        tpep_pickup_datetime=pa.timestamp("ms"),
        Airport_fee=pa.float64(),
    )


async def test_every_month_is_whole_and_the_newer_layout_builds_identical_silver(
    stage: PartitionStage,
) -> None:
    real = {path.stem[-2:]: path for path in tlc_months(os.environ.get("TLC_SOURCE"))}
    for number in range(1, 13):
        dt = date(2019, number, 1)
        path = real.get(f"{number:02d}")
        table = pq.read_table(path) if path else month(dt, rows=1000)
        older = await stage.build(dt, stage.put(path.read_bytes() if path else table, dt))
        bronze, silver, rejected = stage.counts(dt)
        assert bronze == table.num_rows == silver + rejected
        assert rejected == sum(older.rejected_by_reason.values()) > 0
        before = fingerprints(stage, dt)
        result = await stage.build(dt, stage.put(newer(table), dt))
        assert fingerprints(stage, dt) == before, dt
        assert result.rejected_by_reason == older.rejected_by_reason
        assert result.new_columns == []
    assert (await build_year(stage.settings, 2019))["months"] == 12


def fingerprints(stage: PartitionStage, dt: date) -> list[tuple[object, ...]]:
    """Of every value of every row of a partition, table by table; the order of rows is nothing."""
    tables = ["silver.yellow_trips", "silver.yellow_trips_rejected"]
    tables += ["gold.daily_revenue", "gold.zone_hours", "gold.daily_payments"]
    return [
        stage.rows(
            "select count(*), md5(string_agg(line, '' order by line))"
            f" from (select t::text as line from {table} as t where dt = %s) as lines",
            dt,
        )[0]
        for table in tables
    ]


async def test_an_unknown_column_is_kept_in_bronze_and_reported_once(stage: PartitionStage) -> None:
    await stage.build(JANUARY, stage.put(month(), JANUARY))
    drifted = month(FEBRUARY).append_column("surge", pa.array(range(200), pa.int16()))
    drifted = drifted.append_column("notes", pa.array([["a", "b"]] * 200, pa.list_(pa.string())))
    result = await stage.build(FEBRUARY, stage.put(drifted, FEBRUARY))
    assert result.new_columns == ["surge", "notes"]
    assert stage.rows(
        "select dt, sum(surge), min(notes) from bronze.yellow_tripdata group by dt order by dt"
    ) == [(JANUARY, None, None), (FEBRUARY, 19900, json.dumps(["a", "b"]))]
    # Again, and rebuilt in the older partition: nothing new in it.
    assert (await stage.build(FEBRUARY, stage.put(drifted, FEBRUARY))).new_columns == []
    drifted = month().append_column("surge", pa.array(["high"] * 200))
    result = await stage.build(JANUARY, stage.put(drifted, JANUARY))
    assert result.new_columns == ["surge__text"]
    assert stage.rows("select distinct surge__text from bronze.yellow_tripdata order by 1") == [
        ("high",),
        (None,),
    ]


async def test_a_column_of_a_later_year_and_a_missing_optional_one(stage: PartitionStage) -> None:
    table = month().append_column("cbd_congestion_fee", pa.array([0.75] * 200))
    table = table.drop_columns(["congestion_surcharge", "airport_fee"])
    result = await stage.build(JANUARY, stage.put(table, JANUARY))
    assert result.new_columns == []
    assert stage.rows(
        "select distinct cbd_congestion_fee, congestion_surcharge from silver.yellow_trips"
    ) == [(pytest.approx(0.75), None)]


async def test_three_broken_files_each_with_the_sentence_that_a_person_needs(
    stage: PartitionStage,
) -> None:
    await stage.build(JANUARY, stage.put(month(), JANUARY))
    before = fingerprints(stage, JANUARY)
    table = month()
    has = ", ".join(name for name in table.column_names if name != "total_amount")
    broken: list[tuple[str, object]] = [
        (
            "is no readable parquet file (it begins as parquet and is cut short); correct it and"
            " upload it again",
            b"PAR1 and no more",
        ),
        (
            f"required column total_amount is missing (the file has: {has});"
            " correct the file and upload it again",
            table.drop_columns(["total_amount"]),
        ),
        (
            "required column fare_amount is of type string, not a number;"
            " correct the file and upload it again",
            retyped(table, fare_amount=pa.string()),
        ),
        (
            "column PULocationID, row 1: 1.5 does not fit bigint (Float value 1.500000 was"
            " truncated converting to int64); correct the file and upload it again",
            table.set_column(
                table.column_names.index("PULocationID"),
                "PULocationID",
                pa.array([1.5] * table.num_rows),
            ),
        ),
    ]
    for sentence, content in broken:
        listed = stage.put(content, JANUARY)
        with pytest.raises(BronzeFileError) as caught:
            await stage.build(JANUARY, listed)
        said = str(caught.value).removeprefix(f"s3://{stage.dataset.bucket}/{listed.key}")
        assert said.lstrip(": ") == sentence
        assert fingerprints(stage, JANUARY) == before
        assert stage.scratch() == []
    with pytest.raises(BronzeFileError, match="is empty"):
        await stage.build(JANUARY, ManifestFile("x", "e", None, 0))


async def test_green_taxi_is_declared_and_nothing_more(stage: PartitionStage) -> None:
    green = load_datasets(PROJECT / "datasets.yaml").get("nyc_tlc.green_tripdata")
    stage.dataset = green.model_copy(update={"bucket": stage.dataset.bucket})
    table = generate_month(2019, 1, 200, flaws=Flaws(negative_total=3, duplicate=2))
    table = renamed(
        table.drop_columns(["airport_fee"]),
        tpep_pickup_datetime="lpep_pickup_datetime",
        tpep_dropoff_datetime="lpep_dropoff_datetime",
    )
    # As TLC writes them: codes with gaps are doubles, and nobody pays for hailing by telephone.
    table = table.append_column("ehail_fee", pa.nulls(200))
    table = table.append_column("trip_type", pa.array([1.0, 2.0, None, 1.0] * 50))
    table = retyped(table, payment_type=pa.float64())
    result = await stage.build(JANUARY, stage.put(table, JANUARY))
    assert (result.rows_bronze, result.rows_silver, result.rows_rejected) == (200, 195, 5)
    assert result.rejected_by_reason == {"duplicate": 2, "negative_total": 3}
    assert result.new_columns == []
    models = {node.name for node in result.dbt if node.kind == "model"}
    assert models == {"green_trips", "green_trips_named", "green_trips_rejected"}
    assert stage.rows(
        "select distinct trip_type from silver.green_trips order by trip_type nulls last"
    ) == [(1,), (2,), (None,)]
    # Yellow is not touched by it.
    assert stage.rows("select count(*) from pg_tables where tablename like %s", "%yellow%") == [
        (0,)
    ]


async def test_a_damaged_page_ends_the_build(stage: PartitionStage) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(month(), sink, compression="snappy", use_dictionary=False)
    content = bytearray(sink.getvalue().to_pybytes())
    content[200:1200] = b"\xff" * 1000
    with pytest.raises(BronzeFileError, match=r"damaged|no readable parquet"):
        await stage.build(JANUARY, stage.put(bytes(content), JANUARY))
    assert stage.scratch() == []


async def test_empty_ids_of_pandas_are_nulls(stage: PartitionStage) -> None:
    table = month(rows=50)
    at = table.column_names.index("VendorID")
    table = table.set_column(at, "VendorID", pa.array([float("nan")] * 50))
    result = await stage.build(JANUARY, stage.put(table, JANUARY))
    assert result.rows_silver > 40
    assert stage.rows('select count(*) from bronze.yellow_tripdata where "VendorID" is null') == [
        (50,)
    ]


async def test_a_large_file_is_read_in_ranges_of_one_version(
    stage: PartitionStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    from quicksilver.lake import object_file as bronze_object

    monkeypatch.setattr(bronze_object, "_WHOLE_BYTES", 1000)
    monkeypatch.setattr(bronze_object, "_READ_AHEAD", 1000)
    sink = pa.BufferOutputStream()
    pq.write_table(generate_month(2019, 1, 1000, flaws=Flaws()), sink, row_group_size=300)
    result = await stage.build(JANUARY, stage.put(sink.getvalue().to_pybytes(), JANUARY))
    assert result.rows_silver == 1000


async def test_a_lake_that_does_not_answer_is_nobodys_fault(stage: PartitionStage) -> None:
    listed = stage.put(month(), JANUARY)
    stage.settings = stage.settings.model_copy(update={"minio_secret_key": SecretStr("wrong")})
    with pytest.raises(BronzeUnavailableError, match=r"cannot be (read|listed)"):
        await stage.build(JANUARY, listed)


async def test_a_dataset_without_models_has_bronze_only(stage: PartitionStage) -> None:
    stage.dataset = stage.dataset.model_copy(
        update={"name": "shop.orders", "bronze_table": "bronze.orders", "columns": {}}
    )
    orders = pa.table({"id": [1, 2], "Name": ["a", "b"], "at": pa.array([0, 1], pa.timestamp("s"))})
    result = await stage.build(JANUARY, stage.put(orders, JANUARY))
    assert (result.rows_bronze, result.rows_silver, result.rows_rejected) == (2, 0, 0)
    assert stage.rows('select dt, id, "Name" from bronze.orders order by id') == [
        (JANUARY, 1, "a"),
        (JANUARY, 2, "b"),
    ]
