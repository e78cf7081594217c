"""What the API gives to read beside partitions: everything that the page shows."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from quicksilver.domain.partition import Partition
from quicksilver.ledger import Ledger
from quicksilver.operators.explain import explain as explain_key
from quicksilver.operators.gates import look_at_gates
from quicksilver.operators.shapes import (
    ActionLog,
    Alerts,
    Builds,
    DatasetList,
    EventPage,
    Explained,
    Gates,
    Lanes,
    Proven,
    ShownDataset,
    shown_gate,
)
from quicksilver.web.access import OPERATOR_SCHEMES, require_operator
from quicksilver.web.api import REFUSALS
from quicksilver.web.params import Name, PartitionName

router = APIRouter(
    prefix="/api",
    tags=["operators"],
    dependencies=[Depends(require_operator), *OPERATOR_SCHEMES],
    responses=REFUSALS,
)

Limit = Annotated[int, Query(ge=1, le=1000)]
Text = Annotated[str | None, Query(max_length=2000, pattern=r"^[^\x00]*$")]


def _ledger(request: Request) -> Ledger:
    return request.app.state.ledger


@router.get("/datasets")
async def datasets(request: Request) -> DatasetList:
    """Every dataset: declared or not, paused or not, with its partitions by state."""
    ledger = _ledger(request)
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


@router.get("/partitions/{dataset}/{partition:path}/builds")
async def builds(
    request: Request, dataset: Name, partition: PartitionName, limit: Limit = 30
) -> Builds:
    """The builds of a partition, newest first; none of one that never landed."""
    rows: Any = await _ledger(request).views.builds(Partition(dataset, partition), limit=limit)
    return {"builds": rows}


@router.get("/events")
async def events(
    request: Request,
    dataset: Text = None,
    key: Text = None,
    reason: Text = None,
    before: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
    limit: Limit = 100,
) -> EventPage:
    """Events, newest first, by dataset, key and reason code; `next` continues them."""
    rows: Any = await _ledger(request).views.events(
        dataset=dataset, key=key, reason=reason, before=before, limit=limit
    )
    return {"events": rows, "next": rows[-1]["id"] if len(rows) == limit else None}


@router.get("/explain")
async def explain(
    request: Request,
    key: Annotated[str, Query(min_length=1, max_length=2000, pattern=r"^[^\x00]*$")],
) -> Explained:
    """Why one object did or did not fire; the key with or without `s3://bucket/`."""
    found: Any = await explain_key(_ledger(request), key)
    return found


@router.get("/alerts")
async def alerts(
    request: Request, *, is_open: Annotated[bool, Query(alias="open")] = False, limit: Limit = 100
) -> Alerts:
    """What somebody must know of, newest first; with `open=true` only what is not cleared."""
    rows: Any = await _ledger(request).notices.alerts(is_open=is_open, limit=limit)
    return {"alerts": rows}


@router.get("/actions")
async def actions(request: Request, subject: Text = None, limit: Limit = 100) -> ActionLog:
    """What operators did, newest first; `subject` is a dataset, `dataset/dt` or `quarantine/id`."""
    rows: Any = await _ledger(request).operators.actions(subject=subject, limit=limit)
    return {"actions": rows}


@router.get("/lanes")
async def lanes(request: Request) -> Lanes:
    """What the newest canary of each bucket showed of its lanes."""
    rows: Any = await _ledger(request).watch.lane_states()
    return {"lanes": rows}


@router.get("/proof")
async def proof(request: Request) -> Proven:
    """Bronze, ledger and silver compared, by dataset."""
    rows: Any = await _ledger(request).proof.compare()
    return {"proof": rows}


@router.get("/gates")
async def gates(request: Request) -> Gates:
    """Every set of every gate, those that wait first: what is missing, and what was fired."""
    return {"gates": [shown_gate(view) for view in await look_at_gates(_ledger(request))]}
