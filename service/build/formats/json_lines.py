"""JSON with an object a line: read through once for its names and types, then for its rows."""

import re
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import Any

import pyarrow as pa

from quicksilver.build import json_text
from quicksilver.build.columns import Kind
from quicksilver.build.formats.decompress import content
from quicksilver.build.formats.detect import Compression
from quicksilver.build.formats.lines import lines
from quicksilver.build.formats.source import BATCH_BYTES, BATCH_ROWS, ArrowBatch, Source
from quicksilver.build.json_text import Number
from quicksilver.errors import BronzeFileError
from quicksilver.lake.object_file import BronzeObject

_arrow: Any = pa

# More names than this are no columns: values became names.
_MOST_NAMES = 10_000
_BIGGEST = 2**63 - 1
_SURROGATE = re.compile("[\ud800-\udfff]")
# Up to here a double holds every integer.
_EXACT = 2**53


class JsonSource(Source):
    """A file of JSON objects, one a line.

    `declared` are the names that the dataset declares, and their kinds: their values come as text,
    to be read as that kind. Every other name has the type that all of its values have in common;
    where they have none, and of what nests, JSON text. Line numbers count from 1, blank lines too.
    """

    is_text = True

    def __init__(
        self,
        name: str,
        raw: BronzeObject,
        compression: Compression | None,
        declared: Mapping[str, Kind],
        *,
        replace: bool,
    ) -> None:
        self.name = name
        self._raw = raw
        self._compression: Compression | None = compression
        self._errors = "replace" if replace else "strict"
        found: dict[str, set[str]] = {}
        rows = 0
        for number, record in self._records():
            rows += 1
            for field, value in record.items():
                found.setdefault(field, set()).add(_shape(value))
            if len(found) > _MOST_NAMES:
                raise BronzeFileError(
                    f"{name}: more than {_MOST_NAMES} names by line {number}: are values written"
                    " as names? Nest them in one object and upload it again"
                )
        self.rows = rows
        self.schema = pa.schema(
            [
                (field, _declared(declared[field]) if field in declared else _common(shapes))
                for field, shapes in found.items()
            ]
        )

    def _records(self) -> Iterator[tuple[int, dict[str, Any]]]:
        self._raw.seek(0)
        stream = content(self.name, self._raw, self._compression)
        for number, line in lines(self.name, stream):
            try:
                record = json_text.load(line.decode(errors=self._errors))
            except UnicodeDecodeError:
                raise self._refused(
                    number,
                    "is not valid UTF-8; `bad_text: replace` would put U+FFFD in its place",
                ) from None
            except (ValueError, RecursionError) as error:
                reason = str(error).split("\n")[0] or type(error).__name__
                raise self._refused(number, f"is not JSON ({reason})") from error
            if not isinstance(record, dict):
                raise self._refused(
                    number, "is not an object: the file must have one object a line"
                )
            yield number, record

    def _refused(self, line: int, reason: str) -> BronzeFileError:
        return BronzeFileError(
            f"{self.name}: line {line} {reason}; correct the file and upload it again"
        )

    def batches(self, columns: Sequence[str]) -> Iterator[ArrowBatch]:
        """As `Source.batches`."""
        fields = [self.schema.field(name) for name in columns]
        pending: list[list[Any]] = [[] for _ in fields]
        rows, size, done = 0, 0, 0
        for _, record in self._records():
            rows += 1
            for field, values in zip(fields, pending, strict=True):
                value = _value(record.get(field.name), field.type)
                values.append(value)
                size += len(value) if isinstance(value, str) else 8
            if rows == BATCH_ROWS or size >= BATCH_BYTES:
                yield self._batch(fields, pending, rows, done)
                pending, rows, size, done = [[] for _ in fields], 0, 0, done + rows
        if rows:
            yield self._batch(fields, pending, rows, done)

    def _batch(
        self, fields: Sequence[Any], columns: Sequence[list[Any]], rows: int, done: int
    ) -> ArrowBatch:
        if not fields:
            return _arrow.RecordBatch.from_struct_array(pa.array([{}] * rows))
        arrays: list[Any] = []
        for field, values in zip(fields, columns, strict=True):
            try:
                arrays.append(pa.array(values, field.type))
            except UnicodeEncodeError as error:
                # JSON can write half of a surrogate pair, which is no text.
                if self._errors == "strict":
                    at = next(at for at, value in enumerate(values) if _is_half(value))
                    raise BronzeFileError(
                        f"{self.name}: column {field.name}, {self.place(done + at)} holds half a"
                        " character, \\ud800 to \\udfff alone; correct the file and upload it"
                        " again"
                    ) from error
                whole = [None if v is None else _SURROGATE.sub("\ufffd", v) for v in values]
                arrays.append(pa.array(whole, field.type))
        return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(list(fields)))

    def place(self, row: int) -> str:
        """The line of a record: read again up to there."""
        for at, (number, _) in enumerate(self._records()):
            if at == row:
                return f"line {number}"
        return f"record {row + 1}"

    def release(self) -> None:
        """The window of the object."""
        self._raw.release()


def _declared(kind: Kind) -> Any:
    # As JSON writes it, a text in its quotes: what `_value` does for large strings.
    return _arrow.large_string() if kind is Kind.JSON else pa.string()


def _is_half(value: str | None) -> bool:
    return value is not None and _SURROGATE.search(value) is not None


def _shape(value: Any) -> str:
    """What a value is, as far as columns go."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case Number():
            if value.lstrip("-").isdecimal():
                size = abs(int(value))
                return "large" if size > _BIGGEST else "long" if size > _EXACT else "integer"
            # Beyond a double, it stays as it is written.
            return "number" if isfinite(float(value)) else "large"
        case str():
            return "text"
        case _:
            return "nested"


def _common(shapes: set[str]) -> Any:
    """The Arrow type that holds all of a name's values exactly."""
    match sorted(shapes - {"null"}):
        case []:
            return pa.null()
        case ["boolean"]:
            return pa.bool_()
        case ["integer"] | ["long"] | ["integer", "long"]:
            return pa.int64()
        case ["number"] | ["integer", "number"]:
            return pa.float64()
        case _:
            # Text, what nests, and what has no type in common: as JSON writes it, but for text
            # among texts.
            return pa.string() if shapes <= {"text", "null"} else _arrow.large_string()


def _value(value: Any, arrow: Any) -> Any:
    """A value for a column of that type: of a string's, its own text; else JSON's."""
    if value is None:
        return None
    if arrow == pa.int64():
        return int(value)
    if arrow == pa.float64():
        return float(value)
    if arrow == pa.bool_():
        return value
    if isinstance(value, str) and arrow == pa.string():
        return str(value)
    return json_text.dump(value)
