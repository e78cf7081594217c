"""CSV: a header, then records; every value is text, read as the kind that its column declares."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.csv as pc

from quicksilver.build.formats.decompress import content
from quicksilver.build.formats.detect import Compression
from quicksilver.build.formats.source import BATCH_ROWS, ArrowBatch, Source
from quicksilver.errors import BronzeFileError
from quicksilver.lake.object_file import BronzeObject

# A batch is a block of text; a record must fit in one.
_BLOCK = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a dataset's CSV is written."""

    delimiter: str = ","
    quote: str = '"'
    escape: str | None = None
    header: bool = True
    null: tuple[str, ...] = ("",)
    """What means null where it is not quoted."""
    encoding: str = "utf-8"


class CsvSource(Source):
    """A CSV file whose header is read; without one, `names` are its columns in their order."""

    is_text = True

    def __init__(
        self,
        name: str,
        raw: BronzeObject,
        compression: Compression | None,
        dialect: Dialect,
        names: Sequence[str],
    ) -> None:
        self.name = name
        self._raw = raw
        self._compression: Compression | None = compression
        self._dialect = dialect
        self._names = list(names)
        self._odd: Any = None
        if not dialect.header and not names:
            raise BronzeFileError(
                f"{name} has no header (`header: false`): declare its columns, in their order"
            )
        self.schema = pa.schema([(column, pa.string()) for column in self._opened().schema.names])

    def _stream(self) -> BinaryIO:
        self._raw.seek(0)
        return content(self.name, self._raw, self._compression)

    def _opened(self) -> Any:
        dialect = self._dialect
        self._odd = None
        try:
            return pc.open_csv(
                self._stream(),
                # Only one thread counts the records that it refuses.
                read_options=pc.ReadOptions(
                    use_threads=False,
                    block_size=_BLOCK,
                    encoding=dialect.encoding,
                    column_names=None if dialect.header else self._names,
                ),
                parse_options=pc.ParseOptions(
                    delimiter=dialect.delimiter,
                    quote_char=dialect.quote or False,
                    escape_char=dialect.escape or False,
                    newlines_in_values=True,
                    invalid_row_handler=self._note_odd,
                ),
                # As bytes: what is no text is found with its line, not by a reader that ends.
                convert_options=pc.ConvertOptions(
                    default_column_type=pa.binary(),
                    null_values=list(dialect.null),
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=False,
                ),
            )
        except MemoryError:
            raise
        except (pa.ArrowException, OSError, UnicodeDecodeError, LookupError) as error:
            raise self._refused(error) from error

    def _note_odd(self, row: Any) -> str:
        self._odd = row
        return "error"

    def _refused(self, error: Exception) -> BronzeFileError:
        if self._odd is not None:
            # Records that the reader counts begin with the header's.
            place = self.place(self._odd.number - 1 - self._dialect.header)
            return BronzeFileError(
                f"{self.name}: {place} has {self._odd.actual_columns} values for"
                f" {self._odd.expected_columns} columns; correct the file and upload it again"
            )
        first = str(error).split("\n")[0].rstrip(".")
        return BronzeFileError(
            f"{self.name} is no readable CSV ({first[:300]}); correct it and upload it again"
        )

    def batches(self, columns: Sequence[str]) -> Iterator[ArrowBatch]:
        """As `Source.batches`."""
        reader = self._opened()
        while True:
            try:
                batch = reader.read_next_batch()
            except StopIteration:
                return
            except MemoryError:
                raise
            except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
                raise self._refused(error) from error
            batch = batch.select(list(columns))
            for start in range(0, batch.num_rows, BATCH_ROWS):
                yield batch.slice(start, BATCH_ROWS)

    def place(self, row: int) -> str:
        """The line on which a record begins: read again up to there, quoted line ends and all."""
        text = io.TextIOWrapper(
            self._stream(), encoding=self._dialect.encoding, errors="replace", newline=""
        )
        records = csv.reader(
            text,
            delimiter=self._dialect.delimiter,
            quotechar=self._dialect.quote or None,
            escapechar=self._dialect.escape,
            quoting=csv.QUOTE_MINIMAL if self._dialect.quote else csv.QUOTE_NONE,
        )
        wanted = row + self._dialect.header
        begins = 1
        try:
            for record in records:
                # Of an empty line neither reader makes a record.
                if record:
                    if wanted == 0:
                        break
                    wanted -= 1
                begins = records.line_num + 1
        except csv.Error:
            return f"record {row + 1}"
        return f"line {begins}"

    def release(self) -> None:
        """The window of the object."""
        self._raw.release()
