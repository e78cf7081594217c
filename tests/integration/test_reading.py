"""What is read, and how: every kind and format landed, built, and looked up in Postgres."""

import gzip
import io
import uuid
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import cramjam
import fastavro
import pyarrow as pa
import pyarrow.orc as po
import pyarrow.parquet as pq
import pytest

from quicksilver.build.layout import ColumnBounds
from quicksilver.build.load import bronze_columns, load_each, open_files
from quicksilver.domain.datasets import Dataset, load_datasets
from quicksilver.domain.manifest import ManifestFile
from quicksilver.errors import BronzeFileError, DatasetsError, RunMemoryError
from quicksilver.warehouse.cut import cut_of
from tests.conftest import MinioServer
from tests.support.partition_stage import PartitionStage, make_stage

DT = date(2024, 5, 1)
NOON = datetime(2024, 5, 1, 12)  # noqa: DTZ001  without a zone, as the file has it
WHO = uuid.UUID(int=5)
_arrow: Any = pa
_zstd: Any = cramjam.zstd
_snappy: Any = cramjam.snappy


@pytest.fixture
def stage(warehouse_url: str, minio_server: MinioServer) -> PartitionStage:
    return make_stage(warehouse_url, minio_server)


def declare(stage: PartitionStage, columns: dict[str, Any], **fields: Any) -> None:
    """A dataset of the test's own, without models."""
    stage.dataset = Dataset.model_validate(
        {
            "name": "shop.orders",
            "bucket": stage.dataset.bucket,
            "key": "orders/dt={dt}/{file}",
            "deployment": "silver-build/nyc-tlc",
            "bronze_table": "bronze.orders",
            "columns": columns,
            **fields,
        }
    )


def opened(stage: PartitionStage, *manifest: ManifestFile, **bounds: Any) -> list[Any]:
    return open_files(stage.lake, stage.dataset, manifest, {}, **bounds)


def loaded(stage: PartitionStage, *manifest: ManifestFile, memory: int | None = None) -> Any:
    """Load files into a table as a build's scratch table is; what became of it."""
    files = opened(stage, *manifest)
    columns = bronze_columns(stage.dataset, files, {}, cut_of(stage.dataset).columns)
    listed = ", ".join(f'"{name}" {kind}' for name, kind in columns.items())
    stage.run(
        f"create schema if not exists trial; drop table if exists trial.t;"
        f" create table trial.t ({listed})"
    )
    done = load_each(stage.url, "trial", {"t": files}, memory=memory)["t"]
    if isinstance(done, Exception):
        raise done
    return done


def test_a_bad_file_harms_no_neighbour_of_its_run(stage: PartitionStage) -> None:
    declare(stage, {"note": {"kind": "text"}})
    contents = {"a": ["fine"], "b": ["a\0b"], "c": ["fine too"]}
    files = {
        name: opened(stage, stage.put(pa.table({"note": notes}), DT, f"{name}.parquet"))
        for name, notes in contents.items()
    }
    stage.run(
        "; ".join(["create schema trial", *(f"create table trial.{n} (note text)" for n in files)])
    )
    done = load_each(stage.url, "trial", files)
    assert [getattr(done[name], "rows", None) for name in "abc"] == [1, None, 1]
    assert isinstance(done["b"], BronzeFileError)
    assert stage.rows("select note from trial.a union select note from trial.c order by 1") == [
        ("fine",),
        ("fine too",),
    ]
    assert stage.rows("select count(*) from trial.b") == [(0,)]


async def test_every_kind_of_parquet_arrives_value_by_value(stage: PartitionStage) -> None:
    declare(
        stage,
        {
            "id": {"kind": "integer", "required": True},
            "amount": {"kind": "decimal(12,2)"},
            "share": {"kind": "number"},
            "at": {"kind": "timestamp"},
            "moment": {"kind": "timestamptz"},
            "clock": {"kind": "time"},
            "who": {"kind": "uuid"},
            "doc": {"kind": "json"},
            "raw": {"kind": "binary"},
            "name": {"kind": "text"},
        },
    )
    identity = _arrow.ExtensionArray.from_storage(
        _arrow.uuid(), pa.array([WHO.bytes], pa.binary(16))
    )
    table = pa.table(
        {
            "id": pa.array([1], pa.int32()),
            "amount": pa.array([0.1]),
            "share": pa.array([0.3]),
            "at": pa.array([253_402_300_799_999_999], pa.timestamp("us")),
            "moment": pa.array([0], pa.timestamp("ms", tz="Asia/Tokyo")),
            "clock": pa.array([time(13, 30)], pa.time32("s")),
            "who": pa.array([str(WHO)]),
            "doc": pa.array([{"a": [1, None], "n": 1.5}]),
            "raw": pa.array([b"\x00\xff"]),
            "name": pa.array(["Grüße".encode()]),
            "big": pa.array([2**64 - 1], pa.uint64()),
            "wide": pa.array([Decimal("1" * 38 + "." + "2" * 38)], pa.decimal256(76, 38)),
            "own_id": identity,
            "nest": pa.array([{"f": float("nan"), "b": b"\xff"}]),
            "dt": pa.array(["yesterday"]),
            "ctid": pa.array([7]),
            "": pa.array([8]),
            "empty": pa.nulls(1),
        }
    )
    result = await stage.build(DT, stage.put(table, DT))
    assert result.rows_bronze == 1
    found = stage.rows(
        "select id, amount, share, at::text, moment, clock, who, doc, raw, name, big, wide,"
        " own_id, nest::jsonb, dt__text, ctid__bigint from bronze.orders"
    )
    assert found == [
        (
            1,
            Decimal("0.10"),
            0.3,
            "9999-12-31 23:59:59.999999",
            datetime(1970, 1, 1, tzinfo=UTC),
            time(13, 30),
            WHO,
            {"a": [1, None], "n": 1.5},
            b"\x00\xff",
            "Grüße",
            Decimal(2**64 - 1),
            Decimal("1" * 38 + "." + "2" * 38),
            WHO,
            {"f": None, "b": "/w=="},
            "yesterday",
            7,
        )
    ]


CSV = b'id,amount,at,note\n1,1.10,2024-05-01 12:00:00,"csv"\n'


async def test_a_partition_of_every_format_and_compression(stage: PartitionStage) -> None:
    declare(
        stage,
        {
            "id": {"kind": "integer", "required": True},
            "amount": {"kind": "decimal(12,2)"},
            "at": {"kind": "timestamp"},
            "note": {"kind": "text"},
        },
        files=["*"],
    )
    avro, orc = io.BytesIO(), io.BytesIO()
    schema: Any = {
        "type": "record",
        "name": "order",
        "fields": [
            {"name": "id", "type": "long"},
            {"name": "note", "type": ["null", "string"]},
        ],
    }
    fastavro.writer(avro, schema, [{"id": 5, "note": "avro"}], codec="snappy")
    po.write_table(pa.table({"id": [6], "note": ["orc"]}), orc)
    line = b'{"id": %d, "amount": 1.10, "at": "2024-05-01T12:00:00", "note": "json"}\n'
    contents = {
        "a.csv": CSV,
        "b.csv.gz": gzip.compress(CSV.replace(b"\n1,", b"\n2,")),
        "c.json": line % 3,
        "d.jsonl.zst": bytes(_zstd.compress(line % 4)),
        "e.avro": avro.getvalue(),
        "f.orc": orc.getvalue(),
        "g.ndjson.snappy": bytes(_snappy.compress(line % 7)),
    }
    listed = [stage.put(content, DT, name) for name, content in contents.items()]
    listed.append(stage.put(pa.table({"id": [8], "note": ["parquet"]}), DT, "h.parquet"))
    result = await stage.build(DT, *listed)
    assert result.rows_bronze == 8
    found = stage.rows("select id, amount, at, note from bronze.orders order by id")
    money = Decimal("1.10")
    assert found == [
        (1, money, NOON, "csv"),
        (2, money, NOON, "csv"),
        (3, money, NOON, "json"),
        (4, money, NOON, "json"),
        (5, None, None, "avro"),
        (6, None, None, "orc"),
        (7, money, NOON, "json"),
        (8, None, None, "parquet"),
    ]


def test_a_value_that_cannot_be_kept_is_named_and_final(stage: PartitionStage) -> None:
    declare(
        stage,
        {"note": {"kind": "text"}, "ends": {"kind": "timestamp"}, "day": {"kind": "date"}},
    )
    refused = [
        ({"note": ["fine", "a\0b"]}, r"column note, row 2: 'a\\x00b' does not fit text"),
        ({"ends": pa.array([0, 2**63 - 1], pa.timestamp("ms"))}, "column ends, row 2"),
        ({"day": pa.array([2**31 - 1], pa.date32())}, "column day, row 1: 2147483647 days"),
        ({"day": ["2024-05-01"]}, "column day is of type string, not a date"),
        ({"ends": pa.array([0], pa.timestamp("us", tz="UTC"))}, "declare it `kind: timestamptz`"),
    ]
    for columns, sentence in refused:
        listed = stage.put(pa.table(columns), DT)
        with pytest.raises(BronzeFileError, match=sentence) as caught:
            loaded(stage, listed)
        assert caught.value.is_final
        assert str(caught.value).startswith(f"s3://{stage.dataset.bucket}/{listed.key}")
    declare(stage, {"note": {"kind": "text"}}, bad_text="replace")
    assert loaded(stage, stage.put(pa.table({"note": ["a\0b"]}), DT)).rows == 1
    assert stage.rows("select note from trial.t") == [("a\ufffdb",)]


def test_what_postgres_alone_can_refuse_is_the_files_too(stage: PartitionStage) -> None:
    # Each fits its column, and the row fits no page.
    declare(stage, {f"c{at}": {"kind": "integer"} for at in range(1200)})
    listed = stage.put(pa.table({f"c{at}": [1] for at in range(1200)}), DT)
    with pytest.raises(BronzeFileError, match=r"row is too big: size \d+, maximum size 8160"):
        loaded(stage, listed)


def test_rows_without_a_typed_column_are_rows(stage: PartitionStage) -> None:
    declare(stage, {"note": {"kind": "text"}})
    assert loaded(stage, stage.put(pa.table({"note": pa.nulls(3), "x": pa.nulls(3)}), DT)).rows == 3
    assert stage.rows("select count(*), count(note) from trial.t") == [(3, 0)]


def test_too_many_columns_are_one_sentence_with_the_numbers(stage: PartitionStage) -> None:
    declare(stage, {})
    wide = stage.put(pa.table({f"c{at}": [0.0] for at in range(1700)}), DT)
    with pytest.raises(BronzeFileError, match=r"has 1700 columns.* 1600 that Postgres takes"):
        opened(stage, wide)
    some = stage.put(pa.table({f"c{at}": [0.0] for at in range(11)}), DT)
    with pytest.raises(
        BronzeFileError, match=r"11 of those new.*10 \(QUICKSILVER_COLUMNS_PER_FILE"
    ):
        opened(stage, some, bounds=ColumnBounds(per_file=10))
    more = stage.put(pa.table({f"d{at}": [0.0] for at in range(11)}), DT, "more.parquet")
    with pytest.raises(BronzeFileError, match=r"has 11 such.*20 \(QUICKSILVER_COLUMNS_PER_TABLE"):
        opened(stage, some, more, bounds=ColumnBounds(per_table=20))


def test_a_bad_file_is_left_out_where_the_dataset_says_so(stage: PartitionStage) -> None:
    declare(stage, {"id": {"kind": "integer", "required": True}}, on_bad_file="skip")
    good = stage.put(pa.table({"id": [1, 2]}), DT, "a.parquet")
    cut = stage.put(b"PAR1 and no more", DT, "b.parquet")
    late = stage.put(pa.table({"id": [1.0] * 70_000 + [1.5]}), DT, "c.parquet")
    done = loaded(stage, good, cut, late)
    assert done.rows == 2
    assert stage.rows("select count(*) from trial.t") == [(2,)]
    assert [(Path(file.name).name, file.reason[-40:]) for file in done.skipped] == [
        ("b.parquet", "is cut short); correct it and upload it again"[-40:]),
        ("c.parquet", "int64); correct the file and upload it again"[-40:]),
    ]
    assert "row 70001" in done.skipped[1].reason
    with pytest.raises(BronzeFileError, match="cut short"):
        loaded(stage, cut)


@pytest.mark.parametrize(
    ("log", "engine"),
    [
        ("orders/_delta_log/00000000000000000000.json", "Delta Lake"),
        ("orders/metadata/v1.metadata.json", "Apache Iceberg"),
        ("orders/.hoodie/hoodie.properties", "Apache Hudi"),
        ("orders/dt=2024-05-01/.hoodie_partition_metadata", "Apache Hudi"),
    ],
)
def test_a_table_of_another_engine_is_refused(stage: PartitionStage, log: str, engine: str) -> None:
    declare(stage, {})
    listed = stage.put(pa.table({"id": [1]}), DT)
    stage.lake.put_object(stage.dataset.bucket, "orders/metadata/notes.txt", io.BytesIO(), 0)
    assert len(opened(stage, listed)) == 1
    stage.lake.put_object(stage.dataset.bucket, log, io.BytesIO(b"{}"), 2)
    with pytest.raises(BronzeFileError, match=f"is a table of {engine}"):
        opened(stage, listed)


def test_a_run_ends_with_that_word_before_it_takes_too_much_memory(
    stage: PartitionStage,
) -> None:
    declare(stage, {})
    # Nested, so that it is decoded at once: 30 kB in each of 65,536 rows.
    repeated = _arrow.DictionaryArray.from_arrays(pa.array([0] * 65_536), ["x" * 30_000])
    bomb = pa.table({"a": _arrow.StructArray.from_arrays([repeated], names=["s"])})
    sink = io.BytesIO()
    pq.write_table(bomb, sink, store_schema=False)
    listed = stage.put(sink.getvalue(), DT)
    assert listed.size < 100_000
    with pytest.raises(RunMemoryError, match="QUICKSILVER_RUN_MEMORY") as caught:
        loaded(stage, listed, memory=256_000_000)
    assert caught.value.is_final
    # The limit ends with the load.
    assert len(bytes(1_000_000_000)) == 1_000_000_000


@pytest.mark.parametrize("name", ["ctid", "dt", "x" * 64, " "])
def test_a_name_that_no_column_can_have_is_refused_where_it_is_declared(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / "datasets.yaml"
    path.write_text(
        "datasets:\n  shop.orders:\n    bucket: lake\n    key: o/dt={dt}/{file}\n"
        "    deployment: silver-build/nyc-tlc\n    bronze_table: bronze.orders\n"
        f"    columns:\n      {name!r}: {{kind: text}}\n"
    )
    with pytest.raises(DatasetsError, match=r"datasets.yaml:\d+: shop.orders: columns"):
        load_datasets(path)
