"""Values in bronze's types: exact, or the first that cannot be is named."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from quicksilver.build.columns import declared_column
from quicksilver.build.layout import fallback_type, plan
from quicksilver.build.values import BadValueError, converted

_arrow: Any = pa
US = pa.timestamp("us")
MIDNIGHT = datetime(1970, 1, 1)  # noqa: DTZ001  without a zone, as the file has it
NOON = datetime(2024, 5, 1, 12)  # noqa: DTZ001


def kept(values: Any, *, replace: bool = False) -> list[Any]:
    """What becomes of a column that nobody declared."""
    _, target, kind = fallback_type(values.type)
    return converted(values, target, kind, replace=replace, parse=False).to_pylist()


def read(values: Any, kind: str, *, replace: bool = False, parse: bool = False) -> list[Any]:
    """What becomes of a declared column."""
    column = declared_column("a", kind, required=False, former=())
    schema = pa.schema([("a", values.type)])
    landing = plan([column], schema, {}, "f", len(values), is_text=parse).landings[0]
    found = converted(values, landing.arrow, landing.kind, replace=replace, parse=parse)
    return found.to_pylist()


def invalid_utf8() -> Any:
    return _arrow.Array.from_buffers(pa.string(), 2, pa.array([b"ok", b"caf\xe9"]).buffers())


def uuids() -> Any:
    storage = pa.array([bytes(15) + b"\x05", None], pa.binary(16))
    return _arrow.ExtensionArray.from_storage(_arrow.uuid(), storage)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([2**64 - 1], pa.uint64()), [Decimal(2**64 - 1)]),
        (pa.array([1.5], pa.float16()), [1.5]),
        (pa.array([Decimal("1.50")], _arrow.decimal32(5, 2)), [Decimal("1.50")]),
        (pa.array([Decimal("1" * 38 + ".5")], pa.decimal256(76, 1)), [Decimal("1" * 38 + ".5")]),
        (
            pa.array([-1, 1_999], pa.timestamp("ns")),
            [MIDNIGHT, MIDNIGHT + timedelta(microseconds=1)],
        ),
        (pa.array([time(1, 2, 3)], pa.time64("us")), ["01:02:03.000000"]),
        (pa.array([timedelta(days=1, microseconds=5)], pa.duration("us")), ["PT86400.000005S"]),
        (pa.array([timedelta(seconds=-1)], pa.duration("ms")), ["PT-1S"]),
        (pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
        (_arrow.RunEndEncodedArray.from_arrays([2, 3], ["a", "b"]), ["a", "a", "b"]),
        (pa.array(["a"], _arrow.string_view()), ["a"]),
        (pa.array([b"\x00\xff"], _arrow.binary_view()), [b"\x00\xff"]),
        (uuids(), [bytes(15) + b"\x05", None]),
        (pa.array([[1], None, [2, 3]], pa.list_(pa.int64()))[1:], [None, "[2, 3]"]),
        (pa.array([[1], [2, 3]], _arrow.list_view(pa.int64())), ["[1]", "[2, 3]"]),
        (pa.array([[1, 2], [3, 4]], pa.list_(pa.int64(), 2))[1:], ["[3, 4]"]),
        (pa.array([[("a", 1)], [("b", 2)]], pa.map_(pa.string(), pa.int64()))[1:], ['[["b", 2]]']),
        (
            pa.array(
                [{"b": b"\x00\xff", "f": float("nan"), "d": date(1, 1, 1), "m": Decimal("1.10")}],
                pa.struct(
                    [
                        ("b", pa.binary()),
                        ("f", pa.float64()),
                        ("d", pa.date32()),
                        ("m", pa.decimal128(3, 2)),
                    ]
                ),
            ),
            ['{"b": "AP8=", "f": null, "d": "0001-01-01", "m": "1.10"}'],
        ),
    ],
)
def test_what_nobody_declared_is_kept_exactly(values: Any, expected: list[Any]) -> None:
    assert kept(values) == expected


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("text", uuids(), ["00000000-0000-0000-0000-000000000005", None]),
        ("text", pa.array([b"caf\xc3\xa9"]), ["café"]),
        ("uuid", pa.array(["00000000-0000-0000-0000-000000000005"]), [bytes(15) + b"\x05"]),
        ("uuid", pa.array([bytes(16)], pa.binary(16)), [bytes(16)]),
        ("json", pa.array(['{"a": 1.10}']), [b'\x01{"a": 1.10}']),
        ("json", pa.array([[1.5, None]]), [b"\x01[1.5, null]"]),
        ("binary", pa.array(["é"]), [b"\xc3\xa9"]),
        ("time", pa.array([time(23, 59)], pa.time32("s")), [time(23, 59)]),
        ("integer", pa.array([Decimal("5.00")]), [5]),
        (
            "decimal(12,2)",
            pa.array([0.1, 99999.98, None]),
            [Decimal("0.10"), Decimal("99999.98"), None],
        ),
        ("decimal(5,2)", pa.array([7]), [Decimal("7.00")]),
        ("decimal(100,10)", pa.array([Decimal("1.5")]), [Decimal("1.5")]),
        ("number", pa.array([Decimal("99999999999999.98")]), [99999999999999.98]),
        (
            "timestamptz",
            pa.array([0], pa.timestamp("s", tz="Asia/Tokyo")),
            [datetime(1970, 1, 1, tzinfo=UTC)],
        ),
    ],
)
def test_a_declared_kind_takes_what_carries_it(kind: str, values: Any, expected: list[Any]) -> None:
    assert read(values, kind) == expected


@pytest.mark.parametrize(
    ("kind", "values", "index", "sentence"),
    [
        ("timestamp", pa.array([1, 2**63 - 1], pa.timestamp("ms")), 1, "out of bounds"),
        ("timestamp", pa.array([0, 0, -(2**62)], US), 2, "range of a timestamp"),
        ("date", pa.array([0, 2**31 - 1], pa.date32()), 1, "range of a date"),
        ("text", pa.array(["a", "b\0c"]), 1, "holds a NUL"),
        ("text", invalid_utf8(), 1, "not valid UTF-8"),
        ("uuid", pa.array(["{x}"]), 0, "not written as a UUID"),
        ("json", pa.array(["[1]", '{"a": NaN}']), 1, "NaN is not JSON"),
        ("json", pa.array(['"\\u0000"']), 0, "which Postgres' jsonb cannot"),
        ("json", pa.array(['"\\ud800"']), 0, "half a character"),
        ("json", pa.array(['{"a": 1, "a": 2}']), 0, "'a' is there twice"),
        ("decimal(12,2)", pa.array([0.1, 0.125]), 1, "data loss"),
        ("decimal(12,2)", pa.array([float("nan")]), 0, "not a valid decimal"),
        ("decimal(3,2)", pa.array([1, 10]), 1, "precision"),
        ("number", pa.array([Decimal("99999999999999.99")]), 0, "declare the column decimal"),
        ("number", pa.array([2**53 + 1]), 0, "not in range"),
        ("integer", pa.array([1.0, float("inf")]), 1, "truncated"),
        ("integer", pa.array([2**63], pa.uint64()), 0, "not in range"),
    ],
)
def test_the_first_value_that_cannot_be_is_named(
    kind: str, values: Any, index: int, sentence: str
) -> None:
    with pytest.raises(BadValueError) as caught:
        read(values, kind)
    assert caught.value.index == index
    assert sentence in caught.value.reason


def test_bad_text_is_replaced_where_the_dataset_says_so() -> None:
    assert read(invalid_utf8(), "text", replace=True) == ["ok", "caf\ufffd"]
    assert read(pa.array(["a\0"]), "text", replace=True) == ["a\ufffd"]
    assert read(pa.array(['"\\u0000\\\\u0000"']), "json", replace=True) == [
        b'\x01"\\ufffd\\\\u0000"'
    ]


@pytest.mark.parametrize(
    ("kind", "written", "expected"),
    [
        ("integer", ["1", "-2.0", "+3.", ""], [1, -2, 3, None]),
        ("decimal(12,2)", ["1.10", "1e3"], [Decimal("1.10"), Decimal("1000.00")]),
        ("timestamp", ["2024-05-01 12:00:00.1234567"], [NOON + timedelta(microseconds=123456)]),
        ("timestamptz", ["2024-05-01T12:00:00+02:00"], [datetime(2024, 5, 1, 10, tzinfo=UTC)]),
        ("time", ["13:30", "00:00:00.5"], [time(13, 30), time(0, 0, 0, 500_000)]),
        ("boolean", ["true", "0", "False"], [True, False, False]),
        ("binary", ["aGk=", "\\x00ff"], [b"hi", b"\x00\xff"]),
        ("text", ["", "a"], ["", "a"]),
    ],
)
def test_written_values_are_read_strictly(
    kind: str, written: list[str], expected: list[Any]
) -> None:
    assert read(pa.array(written), kind, parse=True) == expected


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        ("integer", "0x10"),
        ("integer", " 1"),
        ("number", "1,5"),
        ("number", "9007199254740993"),
        ("timestamp", "2024-02-30"),
        ("timestamp", "2024-05-01T12:00:00Z"),
        ("timestamptz", "2024-05-01T12:00:00"),
        ("date", "20240501"),
        ("time", "25:00"),
        ("boolean", "yes"),
        ("decimal(12,2)", "1.105"),
    ],
)
def test_what_is_not_written_as_its_kind_is_refused(kind: str, written: str) -> None:
    with pytest.raises(BadValueError):
        read(pa.array([written]), kind, parse=True)
