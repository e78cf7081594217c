"""Parquet: read by row groups, in batches whose decoded size is bounded."""

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as pt

from quicksilver.build.formats.source import BATCH_BYTES, BATCH_ROWS, ArrowBatch, Source
from quicksilver.errors import BronzeFileError
from quicksilver.lake.object_file import BronzeObject

# Its functions are made at run time, where a checker does not see them.
_compute: Any = pc

# A column chunk of fewer bytes a value than this repeats the values of a dictionary, as long as
# each may be: decoded, 2 kB have become 2 GB.
_REPEATED_BYTES = 8
# What a value of an unbounded type is taken to have when rows are counted out.
_USUAL_BYTES = 32
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8}
_BEGINNINGS = {
    b"\x1f\x8b": "it is compressed with gzip",
    b"\x28\xb5\x2f\xfd": "it is compressed with zstd",
    b"PK\x03\x04": "it is a zip archive",
    b"ORC": "it is ORC",
    b"Obj\x01": "it is Avro",
    b"PAR1": "it begins as parquet and is cut short",
    b"<": "it looks like a web page or XML",
    b"{": "it looks like JSON",
    b"[": "it looks like JSON",
}


class ParquetSource(Source):
    """A parquet file whose footer is read."""

    def __init__(self, name: str, raw: BronzeObject) -> None:
        self.name = name
        self._raw = raw
        self._file = self._open()
        self.schema = self._file.schema_arrow
        self.rows = self._file.metadata.num_rows

    def _open(self, **options: Any) -> Any:
        try:
            # INT96 as nanoseconds, the default, wraps outside of 1677 to 2262 without a word.
            given: dict[str, Any] = {"coerce_int96_timestamp_unit": "us"} | options
            return pq.ParquetFile(self._raw, pre_buffer=False, **given)
        except MemoryError:
            raise
        except (pa.ArrowException, OSError) as error:
            raise BronzeFileError(
                f"{self.name} is no readable parquet file ({self._unlike(error)}); correct it and"
                " upload it again"
            ) from error

    def _again(self, **options: Any) -> Any:
        return self._open(metadata=self._file.metadata, **options)

    def _unlike(self, error: Exception) -> str:
        """What the file is instead, by its first bytes; else what the reader says."""
        self._raw.seek(0)
        beginning = self._raw.read(16) or b""
        for magic, what in _BEGINNINGS.items():
            if beginning.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(magic):
                return what
        if beginning and all(byte >= 0x20 or byte in b"\r\n\t" for byte in beginning):
            return "it looks like text"
        return str(error).split("\n")[0].rstrip(".")

    def batches(self, columns: Sequence[str]) -> Iterator[ArrowBatch]:
        """As `Source.batches`; repeated values come as dictionaries."""
        leaves = self._leaves(columns)
        rows = max(1, min(BATCH_ROWS, BATCH_BYTES // max(1, sum(leaves.values()))))
        file = self._again(read_dictionary=self._repeated(columns))
        wrapped = self._int96(columns)
        if not wrapped:
            yield from file.iter_batches(batch_size=rows, columns=list(columns))
            return
        seconds = self._again(coerce_int96_timestamp_unit="s")
        coarse = seconds.iter_batches(batch_size=rows, columns=wrapped)
        done = 0
        for batch, other in zip(
            file.iter_batches(batch_size=rows, columns=list(columns)), coarse, strict=True
        ):
            for column in wrapped:
                self._refuse_wrapped(column, batch.column(column), other.column(column), done)
            done += batch.num_rows
            yield batch

    def release(self) -> None:
        """The window of the object; the footer stays."""
        self._raw.release()

    def _leaves(self, columns: Sequence[str]) -> dict[str, int]:
        """Bytes that a row's value may have, of each leaf of those columns."""
        wanted = set(columns)
        found: dict[str, int] = {}
        schema = self._file.schema
        for at in range(len(schema)):
            leaf = schema.column(at)
            if leaf.path.split(".")[0] in wanted or leaf.path in wanted:
                width = _WIDTHS.get(leaf.physical_type)
                found[leaf.path] = width or max(leaf.length, _USUAL_BYTES)
        return found

    def _repeated(self, columns: Sequence[str]) -> list[str]:
        """Columns of strings or bytes that repeat a dictionary's values throughout."""
        flat = {name for name in columns if not pt.is_nested(self.schema.field(name).type)}
        metadata = self._file.metadata
        found: set[str] = set()
        for group in range(metadata.num_row_groups):
            chunks = metadata.row_group(group)
            for at in range(chunks.num_columns):
                chunk = chunks.column(at)
                if (
                    chunk.path_in_schema in flat
                    and chunk.physical_type == "BYTE_ARRAY"
                    and not pt.is_decimal(self.schema.field(chunk.path_in_schema).type)
                    and chunk.has_dictionary_page
                    and chunk.total_uncompressed_size < _REPEATED_BYTES * chunk.num_values
                ):
                    found.add(chunk.path_in_schema)
        return sorted(found)

    def _int96(self, columns: Sequence[str]) -> list[str]:
        wanted = set(columns)
        schema = self._file.schema
        leaves = (schema.column(at) for at in range(len(schema)))
        return [f.path for f in leaves if f.physical_type == "INT96" and f.path in wanted]

    def _refuse_wrapped(self, column: str, fine: Any, coarse: Any, done: int) -> None:
        """Refuse what is too far for microseconds: its seconds say another moment."""
        seconds = _compute.cast(coarse.cast(pa.int64()), pa.float64())
        off = _compute.subtract(
            _compute.divide(_compute.cast(fine.cast(pa.int64()), pa.float64(), safe=False), 1e6),
            seconds,
        )
        # What wraps is off by half a million years, what is rounded by less than a second.
        at = _compute.index(_compute.greater(_compute.abs(off), 60.0), True).as_py()
        if at >= 0:
            raise BronzeFileError(
                f"{self.name}: column {column}, {self.place(done + at)}: an INT96 timestamp"
                f" {seconds[at].as_py():.0f} seconds from 1970 is out of range; correct the file"
                " and upload it again"
            )
