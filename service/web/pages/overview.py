"""The first page: what needs attention, every dataset in a row, what is in progress."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from quicksilver.domain.states import PartitionState
from quicksilver.operators.gates import look_at_gates
from quicksilver.web.pages.glance import glances
from quicksilver.web.pages.page import STATES, PageRoute, Viewer, ledger_of, render
from quicksilver.web.pages.partition import run_url

router = APIRouter(route_class=PageRoute, include_in_schema=False)

# Enough to see what is wrong; a link leads to the whole list.
_LISTED = 10

# Sets of gates, those that wait first; and missing members of each.
_SETS = 24


@router.get("/")
async def overview(request: Request, session: Viewer) -> Response:
    """Everything at a glance: what needs attention, the datasets, what is in progress."""
    ledger = ledger_of(request)
    counts = await ledger.views.state_counts()
    totals = dict.fromkeys(STATES, 0)
    for row in counts:
        totals[row["shown_state"]] = totals.get(row["shown_state"], 0) + row["partitions"]
    gates = await look_at_gates(ledger)
    return render(
        request,
        "overview.html",
        session,
        totals=totals,
        datasets=await glances(ledger, counts),
        failed=await ledger.overview.unfinished([PartitionState.FAILED], limit=_LISTED),
        running=await ledger.overview.unfinished([PartitionState.RUNNING], limit=_LISTED),
        waiting=await ledger.overview.unfinished(
            [PartitionState.WAITING, PartitionState.PENDING, PartitionState.PAUSED], limit=_LISTED
        ),
        listed=_LISTED,
        attempts={d.name: d.attempts for d in ledger.datasets.datasets},
        oldest=min((row["oldest"] for row in counts if row["oldest"]), default=None),
        lanes=await ledger.proof.lanes(),
        quarantine=await ledger.overview.quarantine_size(),
        gates=gates[:_SETS],
        gate_sets=len(gates),
        gates_waiting=sum(view.state == "waiting" for view in gates),
        run_url=run_url(request.app.state.settings),
        counters=await ledger.views.counters(),
        alerts=await ledger.notices.alerts(limit=_LISTED),
    )
