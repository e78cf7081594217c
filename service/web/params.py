"""Path parameters that several routes take."""

from typing import Annotated

from fastapi import Path

# Postgres holds neither NUL nor ids beyond bigint: refused here, with 422, instead of there.
Name = Annotated[str, Path(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]


RowId = Annotated[int, Path(ge=1, le=2**63 - 1)]
# A partition's name may hold slashes: `2024-05-01T13/region=eu`.
PartitionName = Annotated[str, Path(min_length=1, max_length=1100, pattern=r"^[^\x00]+$")]
