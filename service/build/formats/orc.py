"""ORC: read stripe by stripe."""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.orc as po

from quicksilver.build.formats.source import ArrowBatch, Source
from quicksilver.errors import BronzeFileError
from quicksilver.lake.object_file import BronzeObject


class OrcSource(Source):
    """An ORC file whose footer is read. A stripe, 64 MB by default, is in memory at a time."""

    def __init__(self, name: str, raw: BronzeObject) -> None:
        self.name = name
        self._raw = raw
        try:
            self._file = po.ORCFile(raw)
        except MemoryError:
            raise
        except (pa.ArrowException, OSError) as error:
            first = str(error).split("\n")[0].rstrip(".")
            raise BronzeFileError(
                f"{name} is no readable ORC file ({first}); correct it and upload it again"
            ) from error
        self.schema = self._file.schema
        self.rows = self._file.nrows

    def batches(self, columns: Sequence[str]) -> Iterator[ArrowBatch]:
        """As `Source.batches`."""
        for stripe in range(self._file.nstripes):
            yield self._file.read_stripe(stripe, columns=list(columns))

    def release(self) -> None:
        """The window of the object; the footer stays."""
        self._raw.release()
