"""Events, and everything that happened to one object."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from quicksilver.domain.reasons import Reason
from quicksilver.operators.explain import explain as explain_key
from quicksilver.web.pages.page import PageRoute, Viewer, ledger_of, render
from quicksilver.web.pages.partition import run_url

router = APIRouter(route_class=PageRoute, include_in_schema=False)

Text = Annotated[str, Query(max_length=2000, pattern=r"^[^\x00]*$")]

# A quarantined body is not an event yet, and has its own page.
REASONS = [reason for reason in Reason if reason is not Reason.QUARANTINED]

_ROWS = 100


@router.get("/events")
async def events(
    request: Request,
    session: Viewer,
    dataset: Text = "",
    reason: Text = "",
    key: Text = "",
    before: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
) -> Response:
    """Events, newest first, by dataset, reason code and key.

    `duplicate` shows those that came more than once; what is quarantined has a page of its own.
    """
    ledger = ledger_of(request)
    rows = await ledger.views.events(
        dataset=dataset or None,
        reason=reason or None,
        key=key.strip() or None,
        before=before,
        limit=_ROWS,
    )
    return render(
        request,
        "events.html",
        session,
        events=rows,
        datasets=[row["name"] for row in await ledger.views.dataset_rows()],
        reasons=REASONS,
        dataset=dataset,
        reason=reason,
        key=key,
        is_newest=before is None,
        next=rows[-1]["id"] if len(rows) == _ROWS else None,
    )


@router.get("/explain")
async def explain(request: Request, session: Viewer, key: Text = "") -> Response:
    """Why one object did or did not fire."""
    asked = key.strip()
    bronze = request.app.state.bronze
    found = await explain_key(ledger_of(request), bronze, asked) if asked else None
    return render(
        request,
        "explain.html",
        session,
        key=key,
        found=found,
        run_url=run_url(request.app.state.settings),
    )
