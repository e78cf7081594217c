"""Partitions to read through the API, each with its builds."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Query

from quicksilver.domain.partition import Partition
from quicksilver.operators.shapes.partitions import (
    Builds,
    PartitionPage,
    ShownPartition,
    State,
    shown,
)
from quicksilver.web.access import OPERATOR_SCHEMES, require_operator, sees_rows
from quicksilver.web.params import First, Last, Limit, Named, OfLedger, Text
from quicksilver.web.refused import NO_PARTITION, REFUSALS

router = APIRouter(
    prefix="/api",
    tags=["operators"],
    dependencies=[Depends(require_operator), *OPERATOR_SCHEMES],
    responses=REFUSALS,
)


RowsShown = Annotated[bool, Depends(sees_rows)]


def _cursor(after: str | None) -> Partition | None:
    if after is None:
        return None
    dataset, _, name = after.partition("/")
    if not name:
        raise HTTPException(422, "after: give the last row's dataset/partition")
    return Partition(dataset, name)


@router.get("/partitions")
async def partitions(
    ledger: OfLedger,
    dataset: Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")] = None,
    state: State | None = None,
    text: Annotated[Text, Query(alias="q", description="A part of a name or key, or a run")] = None,
    first: First = None,
    last: Last = None,
    order: Literal["name", "trouble"] = "name",
    skip: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
    limit: Limit = 100,
    after: Annotated[str | None, Query(max_length=300, pattern=r"^[^\x00]*$")] = None,
) -> PartitionPage:
    """A page of partitions: by name, continued by `next`; or those in trouble first, by `skip`."""
    by_name = order == "name"
    cursor = _cursor(after)
    if by_name and not (text or first or last or skip):
        # Along an index, however many there are; a search reads every partition.
        rows = await ledger.views.partitions(
            dataset=dataset, state=state, limit=limit, after=cursor
        )
        found = None
    else:
        rows = await ledger.finding.partitions(
            dataset=dataset,
            states=[state] if state else None,
            first=first,
            last=last,
            text=text,
            by_name=by_name,
            after=cursor,
            skip=skip,
            limit=limit,
        )
        found = rows[0]["found"] if rows else 0
    is_full = by_name and len(rows) == limit
    return {
        "partitions": [shown(row) for row in rows],
        "found": found,
        "next": f"{rows[-1]['dataset']}/{rows[-1]['partition']}" if is_full else None,
    }


# Before the partition itself: its name may hold slashes.
@router.get("/partitions/{dataset}/{partition:path}/builds")
async def builds(
    ledger: OfLedger, which: Named, shows_rows: RowsShown, limit: Limit = 30
) -> Builds:
    """The builds of a partition, newest first; none of one that never landed."""
    rows = await ledger.views.builds(which, limit=limit)
    shown: Any = [
        {**row, "failed_rows": row["failed_rows"] if shows_rows else None} for row in rows
    ]
    return {"builds": shown}


@router.get("/partitions/{dataset}/{partition:path}", responses=NO_PARTITION)
async def one_partition(ledger: OfLedger, which: Named) -> ShownPartition:
    """One partition."""
    row = await ledger.views.partition(which)
    if row is None:
        raise HTTPException(
            404,
            f"nothing of {which} ever landed: see `quicksilver status --dataset {which.dataset}`",
        )
    return shown(row)
