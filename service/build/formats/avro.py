"""Avro: read block by block, its logical types as Arrow's."""

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, cast
from uuid import UUID

import fastavro
import pyarrow as pa

from quicksilver.build import json_text
from quicksilver.build.formats.decompress import content
from quicksilver.build.formats.detect import Compression
from quicksilver.build.formats.source import BATCH_BYTES, BATCH_ROWS, ArrowBatch, Source
from quicksilver.errors import BronzeFileError, QuicksilverError
from quicksilver.lake.object_file import BronzeObject

_arrow: Any = pa

_PLAIN = {
    "boolean": pa.bool_(),
    "int": pa.int64(),
    "long": pa.int64(),
    "float": pa.float64(),
    "double": pa.float64(),
    "string": pa.string(),
    "enum": pa.string(),
    "bytes": pa.binary(),
    "fixed": pa.binary(),
    "null": pa.null(),
}
_LOGICAL = {
    "date": pa.date32(),
    "time-millis": pa.time64("us"),
    "time-micros": pa.time64("us"),
    "timestamp-millis": pa.timestamp("us", tz="UTC"),
    "timestamp-micros": pa.timestamp("us", tz="UTC"),
    "local-timestamp-millis": pa.timestamp("us"),
    "local-timestamp-micros": pa.timestamp("us"),
    "uuid": _arrow.uuid(),
}


class _Counted:
    """A stream that can tell where it is without being able to go elsewhere."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._at = 0

    def read(self, size: int = -1, /) -> bytes:
        data = self._stream.read(size)
        self._at += len(data)
        return data

    def tell(self) -> int:
        return self._at


class AvroSource(Source):
    """An Avro file whose header is read; `replace`: bytes that are no text become U+FFFD."""

    def __init__(
        self, name: str, raw: BronzeObject, compression: Compression | None, *, replace: bool
    ) -> None:
        self.name = name
        self._raw = raw
        self._compression: Compression | None = compression
        self._errors = "replace" if replace else "strict"
        schema: Any = self._opened().writer_schema
        if not isinstance(schema, dict) or schema.get("type") != "record":
            raise BronzeFileError(
                f"{name} holds {schema!r:.60}, not records; correct it and upload it again"
            )
        fields = cast("list[dict[str, Any]]", schema["fields"])
        self.schema = pa.schema([(field["name"], arrow_type(field["type"])) for field in fields])

    def _opened(self) -> Any:
        self._raw.seek(0)
        stream = _Counted(content(self.name, self._raw, self._compression))
        try:
            reader: Any = fastavro.block_reader
            return reader(stream, handle_unicode_errors=self._errors)
        except (QuicksilverError, MemoryError):
            raise
        # fastavro says that bytes are not Avro by whatever they make it stumble over.
        except Exception as error:
            raise BronzeFileError(
                f"{self.name} is no readable Avro file ({_first(error)}); correct it and upload it"
                " again"
            ) from error

    def batches(self, columns: Sequence[str]) -> Iterator[ArrowBatch]:
        """As `Source.batches`."""
        schema = pa.schema([self.schema.field(name) for name in columns])
        records: list[dict[str, Any]] = []
        done, size = 0, 0
        for record, weight in self._records():
            records.append(record)
            size += weight
            if len(records) == BATCH_ROWS or size >= BATCH_BYTES:
                yield self._batch(records, schema, done)
                done, size, records = done + len(records), 0, []
        if records:
            yield self._batch(records, schema, done)

    def _records(self) -> Iterator[tuple[dict[str, Any], int]]:
        """Each record, and the bytes that are its share of the block."""
        row = 0
        try:
            for block in self._opened():
                share = len(block.bytes_.getbuffer()) // max(1, block.num_records)
                for record in block:
                    yield record, share
                    row += 1
        except (QuicksilverError, MemoryError):
            raise
        except UnicodeDecodeError as error:
            raise BronzeFileError(
                f"{self.name}: {self.place(row)} holds text that is not valid UTF-8;"
                " `bad_text: replace` would put U+FFFD in its place"
            ) from error
        # As above: of a damaged block it may say anything.
        except Exception as error:
            raise BronzeFileError(
                f"{self.name} is damaged at {self.place(row)} ({_first(error)}); correct it and"
                " upload it again"
            ) from error

    def _batch(self, records: Sequence[dict[str, Any]], schema: Any, done: int) -> ArrowBatch:
        try:
            arrays = [_column([r[f.name] for r in records], f.type) for f in schema]
        except (pa.ArrowException, ValueError, OverflowError) as error:
            if isinstance(error, MemoryError):
                raise
            first, last = self.place(done), self.place(done + len(records) - 1)
            raise BronzeFileError(
                f"{self.name}: a value between {first} and {last} is out of range"
                f" ({_first(error)}); correct the file and upload it again"
            ) from error
        if not arrays:
            return _arrow.RecordBatch.from_struct_array(pa.array([{}] * len(records)))
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    def release(self) -> None:
        """The window of the object."""
        self._raw.release()


def arrow_type(schema: Any) -> Any:
    """The Arrow type of an Avro field's; of what nests, and of mixed unions, JSON."""
    if isinstance(schema, list):
        kinds = [arrow_type(one) for one in cast("list[Any]", schema) if one != "null"]
        if not kinds:
            return pa.null()
        return kinds[0] if all(kind == kinds[0] for kind in kinds) else _arrow.json_()
    if isinstance(schema, str):
        return _PLAIN.get(schema, _arrow.json_())
    given = cast("dict[str, Any]", schema)
    logical = given.get("logicalType")
    if logical == "decimal":
        precision, scale = int(given["precision"]), int(given.get("scale", 0))
        return (pa.decimal128 if precision <= 38 else pa.decimal256)(precision, scale)
    return _LOGICAL.get(str(logical)) or arrow_type_of_name(given["type"])


def arrow_type_of_name(name: Any) -> Any:
    """The Arrow type of what a schema's `type` names, which may be a schema again."""
    return arrow_type(name) if isinstance(name, dict | list) else _PLAIN.get(name, _arrow.json_())


def _column(values: list[Any], arrow: Any) -> Any:
    if arrow == _arrow.json_():
        texts = [None if v is None else json_text.dump_values(v) for v in values]
        return _arrow.ExtensionArray.from_storage(arrow, pa.array(texts, pa.string()))
    if arrow == _arrow.uuid():
        found = [None if v is None else (v if isinstance(v, UUID) else UUID(v)) for v in values]
        stored = pa.array([None if v is None else v.bytes for v in found], pa.binary(16))
        return _arrow.ExtensionArray.from_storage(arrow, stored)
    return pa.array(values, arrow)


def _first(error: Exception) -> str:
    return str(error).split("\n")[0].rstrip(".") or type(error).__name__
