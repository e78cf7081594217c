"""The operators' API: the same words and numbers as the page and the command line."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request

from quicksilver.domain.partition import Partition
from quicksilver.errors import DatasetsError
from quicksilver.intake.record import record_body
from quicksilver.ledger import Ledger
from quicksilver.operators.gates import look_at_gates
from quicksilver.operators.shapes import State, shown, shown_gate
from quicksilver.web.access import require_operator
from quicksilver.web.params import Name, PartitionName, RowId

router = APIRouter(
    prefix="/api",
    tags=["operators"],
    dependencies=[Depends(require_operator)],
    responses={
        401: {"description": "No operator's token, or an unknown one"},
        403: {"description": "A browser's session without X-CSRF-Token, or another site's page"},
        503: {"description": "Ledger or bronze is away, nothing was changed: try again"},
    },
)

Actor = Annotated[str, Depends(require_operator)]

Answers = dict[int | str, dict[str, Any]]
_NO_PARTITION: Answers = {404: {"description": "Nothing of the partition ever landed"}}
_NO_ROW: Answers = {404: {"description": "Quarantine holds no such row"}}
_NO_DATASET: Answers = {404: {"description": "The dataset is not declared in datasets.yaml"}}


def _ledger(request: Request) -> Ledger:
    return request.app.state.ledger


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
) -> dict[str, Any]:
    """A page of partitions, in the order of dataset and name; `next` continues it."""
    rows = await _ledger(request).views.partitions(
        dataset=dataset, state=state, limit=limit, after=_cursor(after)
    )
    last = f"{rows[-1]['dataset']}/{rows[-1]['partition']}" if len(rows) == limit else None
    return {"partitions": [shown(row) for row in rows], "next": last}


@router.get("/partitions/{dataset}/{partition:path}", responses=_NO_PARTITION)
async def one_partition(
    request: Request, dataset: Name, partition: PartitionName
) -> dict[str, Any]:
    """One partition."""
    row = await _ledger(request).views.partition(Partition(dataset, partition))
    if row is None:
        raise HTTPException(404, f"nothing of {dataset}/{partition} ever landed")
    return shown(row)


@router.post(
    "/partitions/{dataset}/{partition:path}/rebuild", status_code=202, responses=_NO_PARTITION
)
async def rebuild(
    request: Request, dataset: Name, partition: PartitionName, actor: Actor
) -> dict[str, Any]:
    """Build a partition anew though nothing changed: raises its generation."""
    ledger = _ledger(request)
    _declared(ledger, dataset)
    raised = await ledger.recording.rebuild([Partition(dataset, partition)])
    if not raised:
        raise HTTPException(404, f"nothing of {dataset}/{partition} ever landed")
    await ledger.operators.log_action(actor, "rebuild", f"{dataset}/{partition}")
    return {"dataset": dataset, "partition": partition, "generation": raised[0]}


@router.get("/gates")
async def gates(request: Request) -> dict[str, Any]:
    """Every set of every gate, those that wait first: what is missing, and what was fired."""
    return {"gates": [shown_gate(view) for view in await look_at_gates(_ledger(request))]}


@router.get("/quarantine")
async def quarantine(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    key: Annotated[str | None, Query(max_length=2000, description="Bodies that name it")] = None,
) -> dict[str, Any]:
    """What was authentic and understood by nobody, newest first."""
    return {"quarantine": await _ledger(request).quarantine.list(key=key, limit=limit)}


@router.post("/quarantine/{row_id}/replay", responses=_NO_ROW)
async def replay(request: Request, row_id: RowId, actor: Actor) -> dict[str, Any]:
    """Take a quarantined body again, as if it had just come; understood, it leaves."""
    ledger = _ledger(request)
    row = await ledger.quarantine.body(row_id)
    if row is None:
        raise HTTPException(404, f"quarantine holds no row {row_id}")
    outcome = await record_body(request.app.state, bytes(row["body"]), "push", row["source"])
    if not outcome.startswith("quarantined"):
        await ledger.quarantine.discard(row_id)
    await ledger.operators.log_action(actor, "replay", f"quarantine/{row_id}")
    return {"id": row_id, "outcome": outcome}


@router.delete("/quarantine/{row_id}", responses=_NO_ROW)
async def discard(request: Request, row_id: RowId, actor: Actor) -> dict[str, Any]:
    """Drop a quarantined body for good."""
    ledger = _ledger(request)
    if not await ledger.quarantine.discard(row_id):
        raise HTTPException(404, f"quarantine holds no row {row_id}")
    await ledger.operators.log_action(actor, "discard", f"quarantine/{row_id}")
    return {"id": row_id, "outcome": "discarded"}


@router.post("/reconcile")
async def reconcile(request: Request, actor: Actor) -> dict[str, Any]:
    """List bronze now and compare it with the ledger."""
    results = await request.app.state.sweep.run_once()
    await _ledger(request).operators.log_action(actor, "reconcile", "all datasets")
    return {
        "datasets": [
            {"dataset": r.dataset, "listed": r.listed, "found": r.found, "gone": r.gone}
            for r in results
        ]
    }


@router.post("/datasets/{dataset}/pause", responses=_NO_DATASET)
async def pause(request: Request, dataset: Name, actor: Actor) -> dict[str, Any]:
    """Stop building a dataset; its events go on accumulating."""
    ledger = _ledger(request)
    _declared(ledger, dataset)
    changed = await ledger.operators.pause(dataset, actor)
    await ledger.operators.log_action(actor, "pause", dataset)
    return {"dataset": dataset, "paused": True, "changed": changed}


@router.post("/datasets/{dataset}/resume", responses=_NO_DATASET)
async def resume(request: Request, dataset: Name, actor: Actor) -> dict[str, Any]:
    """Build again, beginning with what accumulated."""
    ledger = _ledger(request)
    _declared(ledger, dataset)
    changed = await ledger.operators.resume(dataset)
    await ledger.operators.log_action(actor, "resume", dataset)
    return {"dataset": dataset, "paused": False, "changed": changed}


def _declared(ledger: Ledger, dataset: str) -> None:
    try:
        ledger.datasets.get(dataset)
    except DatasetsError as error:
        raise HTTPException(404, str(error)) from None
