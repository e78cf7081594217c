"""What operators may do through the API: the actions of the page and the command line."""

from datetime import date, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from quicksilver.operators.actions import Actions
from quicksilver.operators.reconciling import Reconciler
from quicksilver.operators.shapes.backfills import Scheduled
from quicksilver.operators.shapes.datasets import Silenced, Switched
from quicksilver.operators.shapes.delivery import (
    RECONCILE,
    ShownReconciliation,
    shown_reconciliation,
)
from quicksilver.operators.shapes.events import Outcome
from quicksilver.operators.shapes.partitions import Raised, RaisedMany, State
from quicksilver.web.access import OPERATOR_SCHEMES, require_operator
from quicksilver.web.params import First, Last, Name, Named, OfLedger, RowId
from quicksilver.web.refused import NO_ALERT, NO_DATASET, NO_PARTITION, NO_ROW, REFUSALS

router = APIRouter(
    prefix="/api",
    tags=["operators"],
    dependencies=[Depends(require_operator), *OPERATOR_SCHEMES],
    responses=REFUSALS,
)

Actor = Annotated[str, Depends(require_operator)]
Reason = Annotated[str, Query(max_length=500, pattern=r"^[^\x00]*$")]
Dataset = Annotated[str | None, Query(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]


def _actions(ledger: OfLedger, actor: Actor) -> Actions:
    return Actions(ledger, actor)


Acting = Annotated[Actions, Depends(_actions)]


@router.post(
    "/partitions/{dataset}/{partition:path}/rebuild", status_code=202, responses=NO_PARTITION
)
async def rebuild(actions: Acting, which: Named) -> Raised:
    """Build a partition anew though nothing changed: raises its generation."""
    generation = await actions.rebuild(which)
    return {"dataset": which.dataset, "partition": which.name, "generation": generation}


@router.post("/datasets/{dataset}/rebuild", status_code=202, responses=NO_DATASET)
async def rebuild_found(
    actions: Acting,
    dataset: Name,
    state: State | None = None,
    first: First = None,
    last: Last = None,
) -> RaisedMany:
    """Build anew what is in a state, or in a range of days, or both; all of it where none is said.

    At most 10,000 at once: `left` says how many more there are.
    """
    count, left = await actions.rebuild_found(dataset, state, first, last)
    return {"partitions": count, "left": left}


@router.post("/backfills", status_code=202, responses=NO_DATASET)
async def backfill(
    request: Request,
    actions: Acting,
    dataset: Annotated[str, Query(min_length=1, max_length=200, pattern=r"^[^\x00]+$")],
    first: Annotated[date, Query(alias="from")],
    last: Annotated[date, Query(alias="to")],
    *,
    newest_first: bool = False,
    rebuild: bool = False,
) -> Scheduled:
    """Bring what bronze holds of a range to silver, behind live events; what is built is skipped.

    The answer comes when bronze was listed; `GET` of the same path says how far it is.
    """
    work = await actions.backfill(
        request.app.state.bronze, dataset, first, last, newest_first=newest_first, rebuild=rebuild
    )
    return {
        "dataset": dataset,
        "first": first,
        "last": last,
        "partitions": len(work.partitions),
        "scheduled": work.scheduled,
        "skipped": work.skipped,
    }


@router.post("/quarantine/{row_id}/replay", responses=NO_ROW)
async def replay(request: Request, actions: Acting, row_id: RowId) -> Outcome:
    """Take a quarantined body again, as if it had just come; parsed this time, it leaves."""
    return {"id": row_id, "outcome": await actions.replay(row_id, request.app.state)}


@router.delete("/quarantine/{row_id}", responses=NO_ROW)
async def discard(actions: Acting, row_id: RowId) -> Outcome:
    """Drop a quarantined body for good."""
    await actions.discard(row_id)
    return {"id": row_id, "outcome": "discarded"}


@router.post("/reconcile", status_code=202)
async def reconcile(
    request: Request, response: Response, actions: Acting, dataset: Dataset = None
) -> ShownReconciliation:
    """List bronze and compare it with the ledger, in the background, one listing at a time.

    While one runs, asking again begins no other. `GET` of the same path says how far it is.
    """
    reconciler: Reconciler = request.app.state.reconciler
    if dataset is not None:
        actions.ledger.datasets.get(dataset)
    last = reconciler.start(actions, [dataset] if dataset else None)
    response.headers["Location"] = RECONCILE
    return shown_reconciliation(last)


@router.get("/reconcile")
async def reconciliation(request: Request) -> ShownReconciliation:
    """The comparison that was asked for last, of this replica."""
    reconciler: Reconciler = request.app.state.reconciler
    return shown_reconciliation(reconciler.last)


@router.post("/datasets/{dataset}/pause", responses=NO_DATASET)
async def pause(actions: Acting, dataset: Name, reason: Reason = "") -> Switched:
    """Stop building a dataset; its events go on accumulating."""
    return {"dataset": dataset, "paused": True, "changed": await actions.pause(dataset, reason)}


@router.post("/datasets/{dataset}/resume", responses=NO_DATASET)
async def resume(actions: Acting, dataset: Name) -> Switched:
    """Build again, beginning with what accumulated."""
    return {"dataset": dataset, "paused": False, "changed": await actions.resume(dataset)}


@router.post("/alerts/{alert}/silence", responses=NO_ALERT)
async def silence(
    actions: Acting,
    alert: RowId,
    reason: Annotated[str, Query(min_length=1, max_length=500, pattern=r"^[^\x00]*\S[^\x00]*$")],
    minutes: Annotated[int, Query(ge=1, le=43_200)] = 60,
) -> Silenced:
    """Silence an open alert for so many minutes."""
    subject = await actions.silence(alert, timedelta(minutes=minutes), reason)
    return {"id": alert, "subject": subject, "minutes": minutes}


@router.post("/alerts/{alert}/rebuild", status_code=202, responses=NO_ALERT)
async def rebuild_cause(actions: Acting, alert: RowId) -> RaisedMany:
    """Build anew every partition that failed of an alert's cause."""
    count, left = await actions.rebuild_cause(alert)
    return {"partitions": count, "left": left}
