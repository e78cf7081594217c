"""The first page: every dataset's calendar, what is not built and why, and the proof."""

from datetime import date
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from quicksilver.domain.states import PartitionState
from quicksilver.ledger import Ledger
from quicksilver.operators.condition import condition
from quicksilver.operators.gates import look_at_gates
from quicksilver.support.postgres import Row
from quicksilver.web.pages.calendar import Calendar, days_of_months, months_of_years
from quicksilver.web.pages.page import STATES, PageRoute, Viewer, ledger_of, render
from quicksilver.web.pages.partition import run_url

router = APIRouter(route_class=PageRoute, include_in_schema=False)

Text = Annotated[str, Query(max_length=300, pattern=r"^[^\x00]*$")]

# Enough to see what is wrong; the whole list is a link away.
_LISTED = 10

# Sets of gates, those that wait first; and missing members of each.
_SETS = 24

_ROWS = 100


@router.get("/")
async def overview(
    request: Request,
    session: Viewer,
    dataset: Text = "",
    year: Annotated[int | None, Query(ge=1, le=9999)] = None,
) -> Response:
    """Everything at a glance; `dataset` and `year` turn the pages of one daily calendar."""
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
        datasets=await _datasets(ledger, dataset, year),
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


async def _datasets(ledger: Ledger, turned: str, year: int | None) -> list[dict[str, Any]]:
    spans = await ledger.overview.calendar_spans()
    shown: list[dict[str, Any]] = []
    for row in await ledger.views.dataset_rows():
        span = spans.get(row["name"])
        if span is None and not row["is_declared"]:
            continue
        wanted = year if row["name"] == turned else None
        shown.append({**row, **await _calendar(ledger, row["name"], span, wanted)})
    return shown


async def _calendar(
    ledger: Ledger, dataset: str, span: Row | None, year: int | None
) -> dict[str, Any]:
    """The dataset's `calendar`, and the years `before` and `after` it where there are any."""
    calendar: Calendar | None = None
    before = after = None
    if span is not None and span["is_monthly"]:
        calendar = months_of_years(await ledger.overview.calendar(dataset))
    elif span is not None:
        shown = year or span["last_dt"].year
        rows = await ledger.overview.calendar(
            dataset, first=date(shown, 1, 1), last=date(shown, 12, 31)
        )
        calendar = days_of_months(rows, shown)
        before = shown - 1 if span["first_dt"].year < shown else None
        after = shown + 1 if span["last_dt"].year > shown else None
    return {"calendar": calendar, "before": before, "after": after}


@router.get("/partitions")
async def partitions(
    request: Request,
    session: Viewer,
    dataset: Text = "",
    state: Text = "",
    q: Text = "",
    skip: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
) -> Response:
    """Partitions, those in trouble first, then the newest; `q` is a part of a name, key or run."""
    ledger = ledger_of(request)
    text = q.strip()
    rows = await ledger.finding.partitions(
        dataset=dataset or None,
        states=[state] if state else None,
        text=text or None,
        skip=skip,
        limit=_ROWS,
    )
    found = rows[0]["found"] if rows else 0
    return render(
        request,
        "partitions.html",
        session,
        rows=[{**row, "condition": condition(row)} for row in rows],
        found=found,
        states=STATES,
        datasets=[row["name"] for row in await ledger.views.dataset_rows()],
        dataset=dataset,
        state=state,
        q=q,
        query=urlencode({"dataset": dataset, "state": state, "q": text}),
        skip=skip,
        next=skip + _ROWS if skip + _ROWS < found else None,
    )
