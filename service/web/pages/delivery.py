"""How objects reach the ledger, with the proof that none was lost; and what operators did."""

import csv
import io
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from quicksilver.web.pages.page import PageRoute, Viewer, ledger_of, render, viewer

router = APIRouter(route_class=PageRoute, include_in_schema=False)

Text = Annotated[str, Query(max_length=300, pattern=r"^[^\x00]*$")]
Before = Annotated[int | None, Query(ge=1, le=2**63 - 1)]

ACTIONS = (
    "backfill",
    "discard",
    "pause",
    "rebuild",
    "reconcile",
    "replay",
    "resume",
    "silence",
)

_ROWS = 200

# The most rows of a spreadsheet file that people can still open.
_LONGEST = 100_000


@router.get("/delivery")
async def delivery(request: Request, session: Viewer) -> Response:
    """The proof, the sources of the newest events, and the lanes."""
    ledger = ledger_of(request)
    return render(
        request,
        "delivery.html",
        session,
        proof=await ledger.proof.compare(),
        origins={row["dataset"]: row for row in await ledger.proof.origins()},
        measures=await ledger.watch.lane_states(),
    )


@router.get("/activity")
async def activity(
    request: Request,
    session: Viewer,
    action: Text = "",
    actor: Text = "",
    subject: Text = "",
    before: Before = None,
) -> Response:
    """What operators did, newest first."""
    rows = await ledger_of(request).operators.actions(
        action=action or None,
        actor=actor or None,
        part=subject or None,
        before=before,
        limit=_ROWS,
    )
    return render(
        request,
        "activity.html",
        session,
        rows=rows,
        kinds=ACTIONS,
        action=action,
        actor=actor,
        subject=subject,
        query=urlencode({"action": action, "actor": actor, "subject": subject}),
        is_newest=before is None,
        next=rows[-1]["id"] if len(rows) == _ROWS else None,
    )


@router.get("/activity.csv", dependencies=[Depends(viewer)])
async def activity_csv(
    request: Request, action: Text = "", actor: Text = "", subject: Text = ""
) -> Response:
    """The same as a file."""
    rows = await ledger_of(request).operators.actions(
        action=action or None, actor=actor or None, part=subject or None, limit=_LONGEST
    )
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("at", "actor", "action", "subject"))
    for row in rows:
        cells = (row["at"].isoformat(), row["actor"], row["action"], row["subject"])
        # A spreadsheet would treat text that begins like this as a formula.
        writer.writerow([f"'{c}" if c[:1] in ("=", "+", "-", "@") else c for c in cells])
    return Response(
        text.getvalue(),
        media_type="text/csv",
        headers={"Content-Disposition": 'attachment; filename="activity.csv"'},
    )
