"""The operators' API: the same words and numbers as the page and the command line."""

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response

from quicksilver.domain.partition import Partition
from quicksilver.ledger import Ledger
from quicksilver.operators.actions import Actions
from quicksilver.operators.reconciling import Reconciler
from quicksilver.operators.shapes import (
    RECONCILE,
    Outcome,
    PartitionPage,
    QuarantinePage,
    Raised,
    RaisedMany,
    ShownPartition,
    ShownReconciliation,
    Silenced,
    State,
    Switched,
    shown,
    shown_reconciliation,
)
from quicksilver.web.access import OPERATOR_SCHEMES, require_operator
from quicksilver.web.params import Name, PartitionName, RowId

Answers = dict[int | str, dict[str, Any]]

# What every operation may answer besides its own.
REFUSALS: Answers = {
    401: {"description": "No operator's token, or an unknown one"},
    403: {
        "description": "A token that may only read, a browser's session without X-CSRF-Token, or"
        " another site's page"
    },
    429: {"description": "Too many wrong tokens from this address: wait as Retry-After says"},
    503: {"description": "Ledger or bronze is away, nothing was changed: try again"},
}

router = APIRouter(
    prefix="/api",
    tags=["operators"],
    dependencies=[Depends(require_operator), *OPERATOR_SCHEMES],
    responses=REFUSALS,
)

Actor = Annotated[str, Depends(require_operator)]

_NO_PARTITION: Answers = {404: {"description": "Nothing of the partition ever landed"}}
_NO_ROW: Answers = {404: {"description": "Quarantine holds no such row"}}
_NO_ALERT: Answers = {404: {"description": "No such alert is open"}}
_NO_DATASET: Answers = {404: {"description": "The dataset is not declared in datasets.yaml"}}


def _ledger(request: Request) -> Ledger:
    return request.app.state.ledger


def _actions(request: Request, actor: Actor) -> Actions:
    return Actions(_ledger(request), actor)


Reason = Annotated[str, Query(max_length=500, pattern=r"^[^\x00]*$")]
Acting = Annotated[Actions, Depends(_actions)]


def _cursor(after: str | None) -> Partition | None:
    if after is None:
        return None
    dataset, _, name = after.partition("/")
    if not name:
        raise HTTPException(422, "after: give the last row's dataset/partition")
    return Partition(dataset, name)


@router.get("/partitions")
async def partitions(
    request: Request,
    dataset: Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")] = None,
    state: State | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: Annotated[str | None, Query(max_length=300, pattern=r"^[^\x00]*$")] = None,
) -> PartitionPage:
    """A page of partitions, in the order of dataset and name; `next` continues it."""
    rows = await _ledger(request).views.partitions(
        dataset=dataset, state=state, limit=limit, after=_cursor(after)
    )
    last = f"{rows[-1]['dataset']}/{rows[-1]['partition']}" if len(rows) == limit else None
    return {"partitions": [shown(row) for row in rows], "next": last}


@router.get("/partitions/{dataset}/{partition:path}", responses=_NO_PARTITION)
async def one_partition(
    request: Request, dataset: Name, partition: PartitionName
) -> ShownPartition:
    """One partition."""
    row = await _ledger(request).views.partition(Partition(dataset, partition))
    if row is None:
        raise HTTPException(404, f"nothing of {dataset}/{partition} ever landed")
    return shown(row)


@router.post(
    "/partitions/{dataset}/{partition:path}/rebuild", status_code=202, responses=_NO_PARTITION
)
async def rebuild(actions: Acting, dataset: Name, partition: PartitionName) -> Raised:
    """Build a partition anew though nothing changed: raises its generation."""
    generation = await actions.rebuild(Partition(dataset, partition))
    return {"dataset": dataset, "partition": partition, "generation": generation}


@router.get("/quarantine")
async def quarantine(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    key: Annotated[str | None, Query(max_length=2000, description="Bodies that name it")] = None,
) -> QuarantinePage:
    """What was authentic and could not be parsed, newest first."""
    rows: Any = await _ledger(request).quarantine.list(key=key, limit=limit)
    return {"quarantine": rows}


@router.post("/quarantine/{row_id}/replay", responses=_NO_ROW)
async def replay(request: Request, actions: Acting, row_id: RowId) -> Outcome:
    """Take a quarantined body again, as if it had just come; parsed this time, it leaves."""
    return {"id": row_id, "outcome": await actions.replay(row_id, request.app.state)}


@router.delete("/quarantine/{row_id}", responses=_NO_ROW)
async def discard(actions: Acting, row_id: RowId) -> Outcome:
    """Drop a quarantined body for good."""
    await actions.discard(row_id)
    return {"id": row_id, "outcome": "discarded"}


@router.post("/reconcile", status_code=202)
async def reconcile(request: Request, response: Response, actions: Acting) -> ShownReconciliation:
    """List bronze and compare it with the ledger, in the background, one listing at a time.

    While one runs, asking again begins no other. `GET` of the same path says how far it is.
    """
    reconciler: Reconciler = request.app.state.reconciler
    last = reconciler.start(actions)
    response.headers["Location"] = RECONCILE
    return shown_reconciliation(last)


@router.get("/reconcile")
async def reconciliation(request: Request) -> ShownReconciliation:
    """The comparison that was asked for last, of this replica."""
    reconciler: Reconciler = request.app.state.reconciler
    return shown_reconciliation(reconciler.last)


@router.post("/datasets/{dataset}/pause", responses=_NO_DATASET)
async def pause(actions: Acting, dataset: Name, reason: Reason = "") -> Switched:
    """Stop building a dataset; its events go on accumulating."""
    return {"dataset": dataset, "paused": True, "changed": await actions.pause(dataset, reason)}


@router.post("/datasets/{dataset}/resume", responses=_NO_DATASET)
async def resume(actions: Acting, dataset: Name) -> Switched:
    """Build again, beginning with what accumulated."""
    return {"dataset": dataset, "paused": False, "changed": await actions.resume(dataset)}


@router.post("/alerts/{alert}/silence", responses=_NO_ALERT)
async def silence(
    actions: Acting,
    alert: RowId,
    reason: Annotated[str, Query(min_length=1, max_length=500, pattern=r"^[^\x00]*\S[^\x00]*$")],
    minutes: Annotated[int, Query(ge=1, le=43_200)] = 60,
) -> Silenced:
    """Tell nobody of an open alert for so many minutes."""
    subject = await actions.silence(alert, timedelta(minutes=minutes), reason)
    return {"id": alert, "subject": subject, "minutes": minutes}


@router.post("/alerts/{alert}/rebuild", status_code=202, responses=_NO_ALERT)
async def rebuild_cause(actions: Acting, alert: RowId) -> RaisedMany:
    """Build anew every partition that failed of an alert's cause."""
    return {"partitions": await actions.rebuild_cause(alert)}
