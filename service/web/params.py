"""Parameters that several routes take."""

from datetime import date
from typing import Annotated

from fastapi import Depends, Path, Query, Request

from quicksilver.domain.partition import Partition
from quicksilver.ledger import Ledger
from quicksilver.operators.naming import meant

# Postgres holds neither NUL nor ids beyond bigint: refused here, with 422, instead of there.
Name = Annotated[str, Path(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]
RowId = Annotated[int, Path(ge=1, le=2**63 - 1)]
# A partition's name may hold slashes: `2024-05-01T13/region=eu`.
PartitionName = Annotated[str, Path(min_length=1, max_length=1100, pattern=r"^[^\x00]+$")]

Limit = Annotated[int, Query(ge=1, le=1000)]
Before = Annotated[int | None, Query(ge=1, le=2**63 - 1)]
Text = Annotated[str | None, Query(max_length=2000, pattern=r"^[^\x00]*$")]
# The first and the last day of a range, both included.
First = Annotated[date | None, Query(alias="from")]
Last = Annotated[date | None, Query(alias="to")]


def ledger_of(request: Request) -> Ledger:
    """The application's ledger."""
    return request.app.state.ledger


def _meant(request: Request, dataset: Name, partition: PartitionName) -> Partition:
    return meant(ledger_of(request).datasets, dataset, partition)


# The partition that a path names; `2024-01` is that of its first day where partitions are days.
Named = Annotated[Partition, Depends(_meant)]
OfLedger = Annotated[Ledger, Depends(ledger_of)]
