"""Whether a downloaded month may become bronze: readable to its end, columns there."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from quicksilver.build.columns import Column, problems
from quicksilver.errors import QuicksilverError

# Small enough that a month in one row group of millions is still read in a few MB at a time.
_BATCH_ROWS = 65_536


class RefusedFileError(QuicksilverError):
    """The file can never become bronze as it is: `name: reason`. Another try changes nothing."""


def check_file(path: Path, columns: Sequence[Column]) -> int:
    """Read the file through once: footer, columns, then every page of every column.

    A footer can be sound over a corrupt page, and bronze is what every build reads, so the pages
    are decoded too: two seconds and 75 MB of memory for three million trips.

    Returns:
        The number of rows.

    Raises:
        RefusedFileError: the file's name and every reason.
    """
    try:
        # pre_buffer would hold whole row groups in memory.
        with pq.ParquetFile(
            path, pre_buffer=False, buffer_size=1 << 20, page_checksum_verification=True
        ) as file:
            reasons = list(problems(file.schema_arrow, columns))
            if reasons:
                raise RefusedFileError(f"{path.name}: {'; '.join(reasons)}")
            if file.metadata.num_rows == 0:
                raise RefusedFileError(f"{path.name}: holds no rows")
            rows = sum(
                batch.num_rows for batch in file.iter_batches(_BATCH_ROWS, use_threads=False)
            )
            if rows != file.metadata.num_rows:
                raise RefusedFileError(
                    f"{path.name}: {rows} rows are there, {file.metadata.num_rows} announced"
                )
            return rows
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(". ")
        raise RefusedFileError(f"{path.name}: not readable parquet: {reason}") from error
