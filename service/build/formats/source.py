"""What the loader asks of a file, whatever its format."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, TypeAlias

# pyarrow's compiled half carries no types, so a checker sees these as unknown.
ArrowBatch: TypeAlias = Any
ArrowSchema: TypeAlias = Any

# What a batch may hold when decoded: large enough for COPY to run at its full speed, and a few of
# them fit beside everything else that a run has in memory.
BATCH_BYTES = 32 * 1024 * 1024
# 20 columns of 8 bytes: about 10 MB a batch.
BATCH_ROWS = 65_536


class Source(ABC):
    """One file of the manifest, its schema known; read as often as needed, in bounded batches."""

    name: str
    """`s3://bucket/key`, as sentences have it."""
    schema: ArrowSchema
    rows: int | None = None
    """None where only reading it through would tell."""
    is_text: ClassVar[bool] = False
    """Whether strings are values of any kind, written out, and places in it are lines."""

    @abstractmethod
    def batches(self, columns: Sequence[str]) -> Iterator[ArrowBatch]:
        """The rows, in the file's order, of the columns named.

        Raises:
            BronzeFileError: it is damaged.
            ManifestChangedError, BronzeUnavailableError: as `BronzeObject.readinto`.
        """

    def place(self, row: int) -> str:
        """Where a row (from 0) is, as a person finds it: `row 7`, `line 8`."""
        return f"row {row + 1}"

    @abstractmethod
    def release(self) -> None:
        """Give back the memory that only reading on needs; reading on takes it again."""
