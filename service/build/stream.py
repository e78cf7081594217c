"""A file's rows in bronze's types, batch by batch, for the driver to pull."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from quicksilver.build.columns import is_bytes, is_text
from quicksilver.build.formats.source import BATCH_BYTES, ArrowBatch, Source
from quicksilver.build.layout import ColumnMapping, FilePlan
from quicksilver.build.values import BadValueError, converted
from quicksilver.errors import BronzeFileError, QuicksilverError, RunMemoryError

# Its functions are made at run time, where a checker does not see them.
_compute: Any = pc


_NOTHING = FilePlan((), ())


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A file of the manifest with its schema read and its columns placed; or why it is not."""

    name: str
    source: Source | None
    plan: FilePlan = _NOTHING
    refused: BronzeFileError | None = None
    skips: bool = False
    """Whether the partition does without it when it is bad."""
    replaces: bool = False
    """Whether U+FFFD stands for what is no text."""

    def release(self) -> None:
        """Give back the memory that only reading on needs."""
        if self.source is not None:
            self.source.release()


class FileStream:
    """A file's batches in bronze's types; keeps what went wrong, and how many rows went by."""

    def __init__(self, file: OpenFile) -> None:
        self._file = file
        self.rows = 0
        self.failure: QuicksilverError | None = None

    def reader(self) -> Any:
        """What the driver pulls from; whatever it raises is in `failure`."""
        landings = self._file.plan.landings
        schema = pa.schema([(landing.name, landing.arrow) for landing in landings])
        return pa.RecordBatchReader.from_batches(schema, self._converted(schema))

    def count(self) -> int:
        """The number of rows, where no column is wanted.

        Raises:
            BronzeFileError: the file is damaged.
        """
        source = self._file.source
        if source is None:
            return 0
        if source.rows is not None:
            return source.rows
        return sum(batch.num_rows for batch in source.batches([]))

    def _converted(self, schema: Any) -> Iterator[ArrowBatch]:
        file = self._file
        try:
            for batch in self._batches():
                arrays = [
                    self._column(landing, batch.column(landing.source))
                    for landing in file.plan.landings
                ]
                yield pa.RecordBatch.from_arrays(arrays, schema=schema)
                self.rows += batch.num_rows
        except QuicksilverError as error:
            self.failure = error
            raise
        except MemoryError as error:
            self.failure = RunMemoryError(
                f"{file.name}: what follows {self._place()} takes more memory than a run may have"
                " (QUICKSILVER_RUN_MEMORY); write it in smaller row groups or with smaller values,"
                " or raise the setting"
            )
            raise self.failure from error
        # What a reader stumbles over in bytes that are not as they should be has many names.
        except Exception as error:
            first = str(error).split("\n")[0].rstrip(".") or type(error).__name__
            self.failure = BronzeFileError(
                f"{file.name} is damaged behind {self._place()} ({first}); correct it and upload it"
                " again"
            )
            raise self.failure from error

    def _place(self) -> str:
        return f"row {self.rows}" if self.rows else "its beginning"

    def _batches(self) -> Iterator[ArrowBatch]:
        """Batches as the source has them, but none larger than `BATCH_BYTES` when decoded."""
        if self._file.source is None:
            return
        names = [landing.source for landing in self._file.plan.landings]
        for batch in self._file.source.batches(names):
            pending = [batch]
            while pending:
                one = pending.pop()
                if one.num_rows <= 1 or _decoded_bytes(one) <= BATCH_BYTES:
                    yield one
                else:
                    half = one.num_rows // 2
                    pending += [one.slice(half), one.slice(0, half)]

    def _column(self, landing: ColumnMapping, values: Any) -> Any:
        source = self._file.source
        try:
            return converted(
                values,
                landing.arrow,
                landing.kind,
                replace=self._file.replaces,
                parse=source is not None and source.is_text,
            )
        except BadValueError as error:
            place = source.place(self.rows + error.index) if source is not None else ""
            raise BronzeFileError(
                f"{self._file.name}: column {landing.source}, {place}: {error.shown} does not fit"
                f" {landing.sql_type} ({error.reason}); correct the file and upload it again"
            ) from error


def _decoded_bytes(batch: ArrowBatch) -> int:
    return sum(_column_bytes(column) for column in batch.columns)


def _column_bytes(column: Any) -> int:
    arrow = column.type
    if pt.is_dictionary(arrow) and (is_text(arrow.value_type) or is_bytes(arrow.value_type)):
        lengths = _compute.binary_length(column.dictionary)
        return _compute.sum(lengths.take(column.indices)).as_py() or 0
    return int(column.nbytes)
