"""Files over which other tools stumbled, landed and built in one run: each becomes the right rows
in Postgres, or a sentence; and none harms its neighbours."""

import gzip
import io
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quicksilver.build.batch import build_batch
from quicksilver.build.result import BuildOutcome, BuildResult
from quicksilver.domain.datasets import Dataset
from quicksilver.domain.partition import Partition
from quicksilver.ledger import BegunBuild
from tests.support.partition_stage import PartitionStage, make_stage
from tests.support.servers import MinioServer

_arrow: Any = pa
US, MS = pa.timestamp("us"), pa.timestamp("ms")
UTC_US = pa.timestamp("us", tz="UTC")
WHO = uuid.UUID(int=5)
LONG = "properties/hs_line_item_global_term_hs_recurring_billing_start_date"


def naive(*moment: int) -> datetime:
    """A moment without a zone, as the files have it."""
    return datetime(*moment)  # type: ignore[arg-type,misc]  # noqa: DTZ001


def parquet(columns: dict[str, Any], **options: Any) -> bytes:
    """A file of these columns, and an `id` that counts its rows where they have none."""
    table = pa.table(columns)
    if "id" not in columns:
        table = table.append_column("id", pa.array(range(1, table.num_rows + 1), pa.int64()))
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def uuids() -> Any:
    return _arrow.ExtensionArray.from_storage(_arrow.uuid(), pa.array([WHO.bytes], pa.binary(16)))


def invalid_utf8() -> Any:
    return _arrow.Array.from_buffers(pa.string(), 2, pa.array([b"ok", b"caf\xe9"]).buffers())


def no_row_group(schema: Any) -> bytes:
    sink = io.BytesIO()
    pq.ParquetWriter(sink, schema).close()
    return sink.getvalue()


DECLARED = {
    "id": {"kind": "integer", "required": True},
    "at": {"kind": "timestamp"},
    "ends": {"kind": "timestamp"},
    "note": {"kind": "text"},
    "raw_note": {"kind": "text"},
    "who_text": {"kind": "text"},
    "doc_text": {"kind": "text"},
    "label": {"kind": "text"},
    "share": {"kind": "number"},
    "price": {"kind": "decimal(12,2)"},
    "many": {"kind": "integer"},
}


@dataclass(frozen=True)
class Kind:
    """A partition's files; what is looked up of their rows by `id`, and found; or the sentence."""

    name: str
    files: Sequence[bytes]
    selected: str
    found: Any


def right(name: str, columns: dict[str, Any], selected: str, *values: Any, **options: Any) -> Kind:
    rows = [value if isinstance(value, tuple) else (value,) for value in values]
    return Kind(name, [parquet(columns, **options)], selected, rows)


def refused(name: str, *files: bytes, sentence: str) -> Kind:
    return Kind(name, files, "", sentence)


CUT = parquet({"at": [0]})[:-20]
KINDS = [
    right(
        "INT96 of the last and the first year",
        {"at": pa.array([253_402_214_400_000_000, -62_135_596_800_000_000], US)},
        "at",
        naive(9999, 12, 31),
        naive(1, 1, 1),
        use_deprecated_int96_timestamps=True,
    ),
    right(
        "INT96 to the microsecond",
        {"at": pa.array([123_456], US)},
        "at",
        naive(1970, 1, 1, 0, 0, 0, 123_456),
        use_deprecated_int96_timestamps=True,
    ),
    right(
        "nanoseconds are cut",
        {"at": pa.array([1_999], pa.timestamp("ns"))},
        "at",
        naive(1970, 1, 1, 0, 0, 0, 1),
    ),
    right(
        "a thousand years from now",
        {"at": pa.array([33_106_123_800_000_000], US)},
        "at",
        naive(3019, 2, 3, 17, 30),
    ),
    right(
        "a zone that nobody declared",
        {"created": pa.array([0, None], UTC_US)},
        "created",
        datetime(1970, 1, 1, tzinfo=UTC),
        None,
    ),
    refused(
        "a zone where none is declared",
        parquet({"at": pa.array([0], UTC_US)}),
        sentence="column at is of type timestamp[us, tz=UTC], not a timestamp: it has a time zone;"
        " declare it `kind: timestamptz`",
    ),
    refused(
        "milliseconds for ever",
        parquet({"ends": pa.array([0, 2**63 - 1], MS)}),
        sentence="column ends, row 2: 9223372036854775807 does not fit timestamp",
    ),
    refused(
        "dates past Postgres' calendar",
        parquet({"due": pa.array([2**31 - 1], pa.date32())}),
        sentence="column due, row 1: 2147483647 days since 1970 does not fit date",
    ),
    right(
        "a day's rows in the next day's folder",
        {"at": [naive(2024, 4, 30, 23, 59), naive(2024, 5, 1)]},
        "at",
        naive(2024, 4, 30, 23, 59),
        naive(2024, 5, 1),
    ),
    right("UUID", {"who": uuids()}, "who", WHO),
    right("UUID by its logical type only", {"who": uuids()}, "who", WHO, store_schema=False),
    right("UUID declared text", {"who_text": uuids()}, "who_text", str(WHO)),
    right(
        "JSON declared text",
        {"doc_text": pa.array(['{"a": 1}'], _arrow.json_())},
        "doc_text",
        '{"a": 1}',
    ),
    right("bytes", {"blob": pa.array([b"\0\xff\0"])}, "blob", b"\0\xff\0"),
    right("bytes of one length", {"hash": pa.array([bytes(16)], pa.binary(16))}, "hash", bytes(16)),
    right("UTF-8 without its annotation", {"raw_note": ["Grüße".encode()]}, "raw_note", "Grüße"),
    refused(
        "NUL in a text",
        parquet({"note": ["fine", "a\0b"]}),
        sentence=r"column note, row 2: 'a\x00b' does not fit text (it holds a NUL",
    ),
    # Legal JSON, and legal as text; jsonb has no place for it.
    right(
        "NUL in the text of nested JSON",
        {"payload": [{"k": "a\0b"}]},
        "payload",
        r'{"k": "a\u0000b"}',
    ),
    refused(
        "Latin-1 that says it is UTF-8",
        parquet({"note": invalid_utf8()}),
        sentence=r"column note, row 2: b'caf\xe9' does not fit text (it is not valid UTF-8",
    ),
    right(
        "multiples of a milliard",
        {"d9": [Decimal("5000000000.000001"), Decimal("1000000000"), Decimal("-3000000000.5")]},
        "d9",
        Decimal("5000000000.000001"),
        Decimal("1000000000"),
        Decimal("-3000000000.5"),
    ),
    right(
        "a scale of six",
        {"d6": [Decimal("44.123456"), Decimal("0.000001"), Decimal("-0.1")]},
        "d6",
        Decimal("44.123456"),
        Decimal("0.000001"),
        Decimal("-0.1"),
    ),
    right("64 bits without a sign", {"u": pa.array([2**64 - 1], pa.uint64())}, "u", 2**64 - 1),
    right(
        "76 digits",
        {"w": pa.array([Decimal("1" * 38 + "." + "2" * 38)], pa.decimal256(76, 38))},
        "w::text",
        "1" * 38 + "." + "2" * 38,
    ),
    right(
        "small decimals",
        {
            "a32": pa.array([Decimal("1.50")], _arrow.decimal32(5, 2)),
            "a64": pa.array([Decimal("1.50")], _arrow.decimal64(10, 2)),
        },
        "a32, a64",
        (Decimal("1.50"), Decimal("1.50")),
    ),
    right(
        "money in its kind",
        {"price": [Decimal("0.10"), Decimal("0.20"), Decimal("9999999999.99")]},
        "price, sum(price) over (order by id)",
        (Decimal("0.10"), Decimal("0.10")),
        (Decimal("0.20"), Decimal("0.30")),
        (Decimal("9999999999.99"), Decimal("10000000000.29")),
    ),
    refused(
        "money that a double would round",
        parquet({"share": [Decimal("0.10"), Decimal("99999999999999.99")]}),
        sentence="column share, row 2: Decimal('99999999999999.99') does not fit double precision"
        " (a double would round it: declare the column decimal(p,s))",
    ),
    refused(
        "an id that a double would round",
        parquet({"share": [2**53 + 1]}),
        sentence="column share, row 1: 9007199254740993 does not fit double precision",
    ),
    right(
        "numbers that are none",
        {"share": [float("nan"), float("inf"), float("-inf")]},
        "share::text",
        "NaN",
        "Infinity",
        "-Infinity",
    ),
    refused(
        "an infinite integer",
        parquet({"many": [1.0, float("inf")]}),
        sentence="column many, row 2: inf does not fit bigint",
    ),
    right(
        "nested values are JSON",
        {
            "s": [
                {"b": b"\0\xff", "f": float("nan"), "d": Decimal("1.10"), "t": naive(2024, 1, 1)}
            ],
            "l": [[1, None]],
            "q": [[{"x": [1, 2]}]],
            "m": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
        },
        "s::jsonb, l::jsonb, q::jsonb, m::jsonb",
        (
            {"b": "AP8=", "f": None, "d": "1.10", "t": "2024-01-01 00:00:00.000000"},
            [1, None],
            [{"x": [1, 2]}],
            [["k", 1]],
        ),
    ),
    right(
        "times and durations",
        {"tod": pa.array([3_723], pa.time32("s")), "lasts": [timedelta(days=1)]},
        "tod, lasts",
        ("01:02:03.000", "PT86400S"),
    ),
    right(
        "categories",
        {"label": pa.array(["a", "b", "a"]).dictionary_encode()},
        "label",
        "a",
        "b",
        "a",
    ),
    right(
        "names that share 63 bytes",
        {LONG: ["2024-05-01"], f"{LONG}_enabled": ["true"]},
        f"(select array_agg(value order by value) from jsonb_each_text(to_jsonb(t))"
        f" where key like '{LONG[:54]}%%' and value is not null)",
        (["2024-05-01", "true"],),
    ),
    right(
        "names of Postgres' own columns",
        {"ctid": ["x"], "xmin": [7], "tableoid": [9], "xmax": [2]},
        "ctid__text, xmin__bigint, tableoid__bigint, xmax__bigint",
        ("x", 7, 9, 2),
    ),
    right(
        "a column dt beside dt__text",
        {"dt": ["2024-05-01"], "dt__text": ["y"]},
        "(select array_agg(value order by value) from jsonb_each_text(to_jsonb(t))"
        " where key like 'dt\\_%%' and value is not null)",
        (["2024-05-01", "y"],),
    ),
    right(
        "names that differ in case",
        {"Key": [1], "KEY": [2], "key": [3]},
        '"Key", "KEY", "key"',
        (1, 2, 3),
    ),
    right(
        "names that need quotes",
        {"": [1], " ": [2], 'a"b': [3], "a.b": [4], "Total ($)": [5], "ü%s{}": [6]},
        '_unnamed_e3b0c442, _unnamed_36a9e7f1, "a""b", "a.b", "Total ($)", "ü%%s{}"',
        (1, 2, 3, 4, 5, 6),
    ),
    right("pandas' index", {"__index_level_0__": [0, 1]}, "__index_level_0__", 0, 1),
    refused(
        "1,700 columns",
        parquet({f"c{at}": [0.0] for at in range(1_699)}),
        sentence="has 1700 columns, 1699 of them undeclared: with the table's own",
    ),
    Kind("no rows", [parquet({"note": pa.array([], pa.string())})], "id", []),
    Kind("no row group", [no_row_group(pa.schema([("id", pa.int64())]))], "id", []),
    refused(
        "no columns",
        no_row_group(pa.schema([])),
        sentence="required column id is missing (the file has: no columns)",
    ),
    refused("no bytes", b"", sentence="is empty; upload it again"),
    refused("cut in its footer", CUT, sentence="it begins as parquet and is cut short"),
    refused("cut in the middle", CUT[:100], sentence="it begins as parquet and is cut short"),
    refused("gzipped", gzip.compress(parquet({}), mtime=0), sentence="it is compressed with gzip"),
    refused("CSV under another name", b"id,name\n1,a\n", sentence="it looks like text"),
    refused(
        "an error page",
        b"<!DOCTYPE html><html><body>404</body></html>",
        sentence="it looks like a web page or XML",
    ),
    refused(
        "a second file of another type",
        parquet({"share": [1.5]}),
        parquet({"share": ["cheap"]}),
        sentence="/part-1.parquet: column share is of type string, not a number",
    ),
    Kind(
        "many small files",
        [parquet({"id": [at]}) for at in range(60)],
        "id",
        [(at,) for at in range(60)],
    ),
]


@pytest.fixture
def stage(warehouse_url: str, minio_server: MinioServer) -> PartitionStage:
    made = make_stage(warehouse_url, minio_server)
    made.dataset = Dataset.model_validate(
        {
            "name": "shop.kinds",
            "bucket": made.dataset.bucket,
            "key": "kinds/dt={dt}/{file}",
            "deployment": "silver-build/nyc-tlc",
            "bronze_table": "bronze.kinds",
            "columns": DECLARED,
        }
    )
    return made


async def test_each_kind_is_right_or_refused_with_the_reason(stage: PartitionStage) -> None:
    days = {date(2024, 1, 1) + timedelta(days=at): kind for at, kind in enumerate(KINDS)}
    builds: list[BegunBuild] = []
    for build_id, (dt, kind) in enumerate(days.items(), 1):
        listed = [
            stage.put(content, dt, f"part-{at}.parquet") for at, content in enumerate(kind.files)
        ]
        partition = Partition.of_day(stage.dataset.name, dt)
        builds.append(BegunBuild(build_id, partition, 1, 1, tuple(listed)))
    ended: dict[date, BuildOutcome] = {}

    async def tell(build: BegunBuild, outcome: BuildOutcome) -> None:
        ended[build.partition.dt] = outcome

    await build_batch(stage.settings, stage.dataset, builds, tell)
    for dt, kind in days.items():
        outcome = ended[dt]
        if isinstance(kind.found, str):
            assert not isinstance(outcome, BuildResult), kind.name
            assert kind.found in str(outcome), kind.name
            assert outcome.is_final, kind.name
            assert stage.rows("select 1 from bronze.kinds where dt = %s", dt) == [], kind.name
        else:
            assert isinstance(outcome, BuildResult), (kind.name, outcome)
            query = f"select {kind.selected} from bronze.kinds as t where dt = %s order by id"
            assert stage.rows(query, dt) == kind.found, kind.name
            assert outcome.rows_bronze == len(kind.found), kind.name
