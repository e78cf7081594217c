"""Files of every format, read from memory: what arrives, and the sentence when nothing can."""

import gzip
import io
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

import cramjam
import fastavro
import pyarrow as pa
import pyarrow.orc as po
import pyarrow.parquet as pq
import pytest

from quicksilver.build.columns import Column, declared_column
from quicksilver.build.formats.avro import AvroSource
from quicksilver.build.formats.csv import CsvSource, Dialect
from quicksilver.build.formats.detect import Compression, Format, Shape, detect
from quicksilver.build.formats.json_lines import JsonSource
from quicksilver.build.formats.orc import OrcSource
from quicksilver.build.formats.parquet import ParquetSource
from quicksilver.build.formats.source import BATCH_BYTES, Source
from quicksilver.build.layout import plan
from quicksilver.build.stream import FileStream, OpenFile
from quicksilver.errors import BronzeFileError
from quicksilver.lake.object_file import BronzeObject

_zstd: Any = cramjam.zstd
_snappy: Any = cramjam.snappy

CSV = b'\xef\xbb\xbfid,amount,note\r\n1,1.10,"two\nlines"\r\n\r\n2,,\r\n3,5,""\r\n'
COLUMNS = {"id": "integer", "amount": "decimal(12,2)"}


class Memory(io.BytesIO):
    """An object of the lake that is in memory."""

    def release(self) -> None:
        """There is nothing to give back."""


def raw(content: bytes) -> BronzeObject:
    return cast("BronzeObject", Memory(content))


def columns(kinds: Mapping[str, str]) -> list[Column]:
    return [declared_column(name, kind, required=False, former=()) for name, kind in kinds.items()]


def rows(source: Source, kinds: Mapping[str, str] | None = None, *, replaces: bool = False) -> Any:
    """The file's rows as they go to the warehouse."""
    declared = columns(kinds or {})
    placed = plan(declared, source.schema, {}, source.name, source.rows, is_text=source.is_text)
    stream = FileStream(OpenFile(source.name, source, placed, replaces=replaces))
    try:
        return stream.reader().read_all().to_pylist()
    except Exception:
        if stream.failure is not None:
            raise stream.failure from None
        raise


def csv(content: bytes, compression: Compression | None = None, **dialect: Any) -> CsvSource:
    return CsvSource("f", raw(content), compression, Dialect(**dialect), list(COLUMNS))


def json(content: bytes, kinds: Mapping[str, str] | None = None, **options: Any) -> JsonSource:
    declared = {column.name: column.kind for column in columns(kinds or {})}
    options = {"replace": False} | options
    return JsonSource("f", raw(content), options.pop("compression", None), declared, **options)


@pytest.mark.parametrize(
    ("key", "declared", "expected"),
    [
        ("a/b.JSON.gz", None, Shape(Format.JSON, Compression.GZIP, "json")),
        ("orders+0+0.snappy.parquet", None, Shape(Format.PARQUET, None, "parquet")),
        ("part-0000", None, Shape(Format.PARQUET, None, "")),
        ("part-0000.zst", "csv", Shape(Format.CSV, Compression.ZSTD, "")),
        ("a.tsv", None, Shape(Format.CSV, None, "tsv")),
        ("dt=2024.json/a.orc", None, Shape(Format.ORC, None, "orc")),
    ],
)
def test_a_name_says_what_a_file_is(key: str, declared: str | None, expected: Shape) -> None:
    assert detect(key, declared) == expected


def hadoop(content: bytes) -> bytes:
    """As Hadoop's codec writes snappy: two blocks."""
    blocks = [content[:20], content[20:]]
    packed = [bytes(_snappy.compress_raw(block)) for block in blocks]
    return b"".join(
        len(block).to_bytes(4, "big") + len(data).to_bytes(4, "big") + data
        for block, data in zip(blocks, packed, strict=True)
    )


@pytest.mark.parametrize(
    ("compression", "content"),
    [
        (None, CSV),
        (Compression.GZIP, gzip.compress(CSV[:20], mtime=0) + gzip.compress(CSV[20:], mtime=0)),
        (Compression.ZSTD, bytes(_zstd.compress(CSV))),
        (Compression.SNAPPY, bytes(_snappy.compress(CSV))),
        (Compression.SNAPPY, hadoop(CSV)),
    ],
)
def test_csv_in_every_compression(compression: Compression | None, content: bytes) -> None:
    assert rows(csv(content, compression), COLUMNS) == [
        {"id": 1, "amount": Decimal("1.10"), "note": "two\nlines"},
        {"id": 2, "amount": None, "note": None},
        {"id": 3, "amount": Decimal("5.00"), "note": ""},
    ]


@pytest.mark.parametrize(
    ("compression", "content", "sentence"),
    [
        (Compression.GZIP, gzip.compress(CSV, mtime=0)[:-9], "no readable gzip"),
        (Compression.GZIP, CSV, "no readable gzip"),
        (Compression.ZSTD, CSV, "no readable zstd"),
        (Compression.ZSTD, bytes(_zstd.compress(CSV))[:-4], "no readable zstd"),
        (Compression.SNAPPY, CSV, "no readable snappy"),
        (Compression.SNAPPY, bytes(_snappy.compress(CSV))[:-3], "no readable snappy"),
        (None, b"", "no readable CSV"),
        (None, CSV + b"x,1,\r\n", "column id, line 7: b'x' does not fit bigint"),
        (None, CSV + b"4,1,caf\xe9\r\n", r"column note, line 7: b'caf\\xe9' does not fit text"),
        (None, CSV + b"4,1\r\n", "line 7 has 2 values for 3 columns"),
        (None, b"id,id\n1,2\n", "column id is there 2 times"),
    ],
)
def test_csv_that_cannot_be_read_says_where(
    compression: Compression | None, content: bytes, sentence: str
) -> None:
    with pytest.raises(BronzeFileError, match=sentence) as caught:
        rows(csv(content, compression), COLUMNS)
    assert caught.value.is_final


def test_csv_of_another_dialect() -> None:
    found = rows(csv(b"1;1.5\n\\N;2\n", delimiter=";", header=False, null=("\\N",)), COLUMNS)
    assert found == [{"id": 1, "amount": Decimal("1.50")}, {"id": None, "amount": Decimal("2.00")}]


JSON = (
    b'{"id": 1, "a": 1.5, "n": {"k": 1.10}, "m": 1, "s": "x", "big": 99999999999999999999}\n'
    b"\n"
    b'{"id": "2", "a": 2, "m": "y", "nothing": null, "late": true, "amount": 1.10, "j": "text"}\n'
)
KINDS = COLUMNS | {"j": "json"}


def test_json_lines_find_a_type_for_every_name() -> None:
    empty = dict.fromkeys(("id", "a", "n", "m", "s", "big", "late", "amount", "j"))
    expected = [
        empty
        | {"id": 1, "a": 1.5, "n": '{"k": 1.10}', "m": "1", "s": "x"}
        | {"big": "99999999999999999999"},
        empty
        | {"id": 2, "a": 2.0, "m": '"y"', "late": True, "amount": Decimal("1.10")}
        | {"j": b'\x01"text"'},
    ]
    assert rows(json(JSON, KINDS), KINDS) == expected
    packed = gzip.compress(JSON, mtime=0)
    assert rows(json(packed, KINDS, compression=Compression.GZIP), KINDS) == expected


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (b'{"id": "x"}', "column id, line 4: 'x' does not fit bigint"),
        (b'{"id": ', "line 4 is not JSON"),
        (b"[1]", "line 4 is not an object"),
        (b'{"a": NaN}', "line 4 is not JSON .NaN"),
        (b'{"a": 1, "a": 2}', "the name 'a' is there twice"),
        (b'{"s": "\\u0000"}', r"column s, line 4: '\\x00' does not fit text"),
        (b'{"s": "\\ud800"}', "column s, line 4 holds half a character"),
        (b'{"s": "caf\xe9"}', "line 4 is not valid UTF-8"),
    ],
)
def test_json_that_cannot_be_read_says_the_line(line: bytes, sentence: str) -> None:
    with pytest.raises(BronzeFileError, match=sentence):
        rows(json(JSON + line + b"\n", KINDS), KINDS)


def test_bad_text_in_json_is_replaced_where_the_dataset_says_so() -> None:
    content = b'{"s": "a\\ud800b\\u0000"}\n{"s": "caf\xe9"}\n'
    assert rows(json(content, replace=True), replaces=True) == [
        {"s": "a\ufffdb\ufffd"},
        {"s": "caf\ufffd"},
    ]


AVRO = {
    "type": "record",
    "name": "order",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {
            "name": "amount",
            "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2},
        },
        {"name": "who", "type": {"type": "string", "logicalType": "uuid"}},
        {"name": "tags", "type": ["null", {"type": "array", "items": "string"}]},
        {"name": "either", "type": ["null", "string", "long"]},
    ],
}
WHO = "00000000-0000-0000-0000-000000000005"
RECORD = {
    "id": 1,
    "at": datetime(9999, 12, 31, tzinfo=UTC),
    "amount": Decimal("1.10"),
    "who": WHO,
    "tags": ["a"],
    "either": 5,
}


def avro(codec: str = "null") -> bytes:
    sink = io.BytesIO()
    fastavro.writer(sink, cast("Any", AVRO), [RECORD, RECORD | {"tags": None}], codec=codec)
    return sink.getvalue()


@pytest.mark.parametrize("codec", ["null", "deflate", "snappy"])
def test_avro_keeps_its_logical_types(codec: str) -> None:
    for content, compression in (
        (avro(codec), None),
        (gzip.compress(avro(codec), mtime=0), Compression.GZIP),
    ):
        found = rows(AvroSource("f", raw(content), compression, replace=False))
        expected = RECORD | {"who": bytes(15) + b"\x05", "tags": '["a"]', "either": "5"}
        assert found == [expected, expected | {"tags": None}]


def test_avro_that_is_cut_or_is_not() -> None:
    with pytest.raises(BronzeFileError, match="is damaged at row 1"):
        rows(AvroSource("f", raw(avro()[:-20]), None, replace=False))
    with pytest.raises(BronzeFileError, match="no readable Avro"):
        AvroSource("f", raw(b"PAR1"), None, replace=False)


def test_orc() -> None:
    sink = io.BytesIO()
    po.write_table(pa.table({"a": [1, 2], "l": [[1], [2]]}), sink)
    assert rows(OrcSource("f", raw(sink.getvalue()))) == [
        {"a": 1, "l": "[1]"},
        {"a": 2, "l": "[2]"},
    ]
    with pytest.raises(BronzeFileError, match="no readable ORC"):
        OrcSource("f", raw(sink.getvalue()[:50]))


def parquet(table: Any, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def test_int96_of_the_first_and_the_last_year() -> None:
    moments = [0, 253_402_214_400_000_000, -62_135_596_800_000_000]
    content = parquet(
        pa.table({"at": pa.array(moments, pa.timestamp("us"))}),
        use_deprecated_int96_timestamps=True,
    )
    found = rows(ParquetSource("f", raw(content)))
    assert [int(row["at"].replace(tzinfo=UTC).timestamp()) for row in found] == [
        moment // 1_000_000 for moment in moments
    ]


def test_a_text_that_repeats_is_decoded_in_bounded_batches() -> None:
    content = parquet(pa.table({"a": pa.array(["x" * 30_000]).take(pa.array([0] * 8_000))}))
    assert len(content) < 100_000
    source = ParquetSource("f", raw(content))
    placed = plan([], source.schema, {}, "f", source.rows)
    stream = FileStream(OpenFile("f", source, placed))
    sizes = [batch.nbytes for batch in stream.reader()]
    assert stream.rows == 8_000
    assert max(sizes) <= BATCH_BYTES


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (gzip.compress(b"PAR1", mtime=0), "it is compressed with gzip"),
        (b"PAR1 and no more", "it begins as parquet and is cut short"),
        (b"<!DOCTYPE html><html>", "it looks like a web page or XML"),
        (b"id,name\n1,a\n", "it looks like text"),
        (b'{"id": 1}\n', "it looks like JSON"),
    ],
)
def test_what_is_no_parquet_is_called_what_it_is(content: bytes, what: str) -> None:
    with pytest.raises(BronzeFileError, match=what):
        ParquetSource("f", raw(content))
