"""What the API gives to read beside partitions: everything that the page shows."""

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request

from quicksilver.domain.reasons import meaning_of
from quicksilver.operators.backfill import progress
from quicksilver.operators.explain import explain as explain_key
from quicksilver.operators.gates import look_at_gates
from quicksilver.operators.proof import read_proof
from quicksilver.operators.shapes.backfills import Progress
from quicksilver.operators.shapes.datasets import (
    ActionLog,
    Alerts,
    DatasetList,
    Gates,
    ShownDataset,
    shown_gate,
)
from quicksilver.operators.shapes.delivery import Lanes, Proven
from quicksilver.operators.shapes.events import EventPage, Explained, QuarantinePage, ShownBody
from quicksilver.web.access import OPERATOR_SCHEMES, require_operator
from quicksilver.web.params import Before, Limit, OfLedger, RowId, Text
from quicksilver.web.refused import NO_DATASET, NO_ROW, REFUSALS

router = APIRouter(
    prefix="/api",
    tags=["operators"],
    dependencies=[Depends(require_operator), *OPERATOR_SCHEMES],
    responses=REFUSALS,
)


@router.get("/datasets")
async def datasets(ledger: OfLedger) -> DatasetList:
    """Every dataset: declared or not, paused or not, with its partitions by state."""
    counts = await ledger.views.state_counts()
    found: list[ShownDataset] = [
        {
            "name": row["name"],
            "is_declared": row["is_declared"],
            "paused_at": row["paused_at"],
            "paused_by": row["paused_by"],
            "paused_for": row["paused_for"],
            "partitions": {
                c["shown_state"]: c["partitions"] for c in counts if c["dataset"] == row["name"]
            },
        }
        for row in await ledger.views.dataset_rows()
    ]
    return {"datasets": found}


@router.get("/events")
async def events(
    ledger: OfLedger,
    dataset: Text = None,
    key: Text = None,
    reason: Text = None,
    before: Before = None,
    limit: Limit = 100,
) -> EventPage:
    """Events, newest first, by dataset, key and reason code; `next` continues them."""
    rows: Any = await ledger.views.events(
        dataset=dataset, key=key, reason=reason, before=before, limit=limit
    )
    return {"events": rows, "next": rows[-1]["id"] if len(rows) == limit else None}


@router.get("/explain")
async def explain(
    request: Request,
    ledger: OfLedger,
    key: Annotated[str, Query(min_length=1, max_length=2000, pattern=r"^[^\x00]*$")],
) -> Explained:
    """Why one object did or did not fire; the key with or without `s3://bucket/`."""
    found: Any = await explain_key(ledger, request.app.state.bronze, key)
    return found


@router.get("/quarantine")
async def quarantine(
    ledger: OfLedger,
    limit: Limit = 100,
    key: Annotated[Text, Query(description="Bodies that name it")] = None,
) -> QuarantinePage:
    """What was authentic and could not be parsed, newest first."""
    rows: Any = await ledger.quarantine.list(key=key, limit=limit)
    return {"quarantine": rows}


@router.get("/quarantine/{row_id}", responses=NO_ROW)
async def quarantined(ledger: OfLedger, row_id: RowId) -> ShownBody:
    """One quarantined body, whole."""
    row: Any = await ledger.quarantine.body(row_id)
    if row is None:
        raise HTTPException(
            404, f"quarantine holds no row {row_id}: see `quicksilver quarantine list`"
        )
    text = bytes(row["body"]).decode("utf-8", "backslashreplace")
    shown: Any = {**row, "body": text, "meaning": meaning_of(row["reason"])}
    return shown


@router.get("/alerts")
async def alerts(
    ledger: OfLedger,
    *,
    is_open: Annotated[bool, Query(alias="open")] = False,
    limit: Limit = 100,
) -> Alerts:
    """Alerts, newest first; with `open=true` only those that are not cleared."""
    rows: Any = await ledger.notices.alerts(is_open=is_open, limit=limit)
    return {"alerts": rows}


@router.get("/actions")
async def actions(
    ledger: OfLedger,
    subject: Text = None,
    part: Annotated[Text, Query(description="A part of the subject")] = None,
    actor: Text = None,
    action: Text = None,
    before: Before = None,
    limit: Limit = 100,
) -> ActionLog:
    """What operators did, newest first; `subject` is a dataset, `dataset/dt` or `quarantine/id`."""
    rows: Any = await ledger.operators.actions(
        subject=subject, part=part, actor=actor, action=action, before=before, limit=limit
    )
    return {"actions": rows, "next": rows[-1]["id"] if len(rows) == limit else None}


@router.get("/lanes")
async def lanes(ledger: OfLedger) -> Lanes:
    """What the newest canary of each bucket showed of its lanes."""
    rows: Any = await ledger.watch.lane_states()
    return {"lanes": rows}


@router.get("/proof")
async def proof(
    ledger: OfLedger,
    dataset: Text = None,
    last: Annotated[int, Query(ge=1, le=100_000, description="Events looked back on")] = 2000,
) -> Proven:
    """Bronze, ledger and silver compared, by dataset, and the sources of the newest events."""
    return await read_proof(ledger, dataset=dataset, last=last)


@router.get("/gates")
async def gates(ledger: OfLedger) -> Gates:
    """Every set of every gate, those that wait first: what is missing, and what was fired."""
    return {"gates": [shown_gate(view) for view in await look_at_gates(ledger)]}


@router.get("/backfills", responses=NO_DATASET)
async def backfills(
    ledger: OfLedger,
    dataset: Annotated[str, Query(min_length=1, max_length=200, pattern=r"^[^\x00]+$")],
    first: Annotated[date, Query(alias="from")],
    last: Annotated[date, Query(alias="to")],
) -> Progress:
    """How far a range of a dataset is: its partitions by state, and the first that failed."""
    ledger.datasets.get(dataset)
    return await progress(ledger, dataset, first, last)
