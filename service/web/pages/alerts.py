"""Actions on an alert: rebuild its partitions, or silence it for a while."""

from datetime import timedelta

from fastapi import APIRouter, HTTPException, Request
from starlette.responses import Response

from quicksilver.support.postgres import Row
from quicksilver.web.pages.asking import Acting, Field, ask
from quicksilver.web.pages.page import PageRoute, Viewer, go_to, ledger_of
from quicksilver.web.params import RowId

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_HOURS = (("1", "an hour"), ("8", "eight hours"), ("24", "a day"), ("168", "a week"))


async def _open(request: Request, alert: int) -> Row:
    row = await ledger_of(request).notices.alert(alert)
    if row is None:
        raise HTTPException(404, f"no alert {alert} is open: it may have been resolved")
    return row


@router.get("/alerts/{alert}/rebuild")
async def ask_rebuild(request: Request, session: Viewer, alert: RowId) -> Response:
    """Ask whether to build anew everything that failed of a cause."""
    row = await _open(request, alert)
    count = row["count"]
    return ask(
        request,
        session,
        f"Rebuild {count} partition{'s' if count > 1 else ''}?",
        f"{row['text']}. If the cause is not fixed, they fail again. Until a build is committed,"
        " readers see what is there now.",
        "Rebuild",
        "/",
    )


@router.post("/alerts/{alert}/rebuild")
async def rebuild(request: Request, session: Viewer, actions: Acting, alert: RowId) -> Response:
    """Build them anew."""
    count, _ = await actions.rebuild_cause(alert)
    return go_to(
        request, "/", session, f"{count} partition{'s' if count > 1 else ''} will be built."
    )


@router.get("/alerts/{alert}/silence")
async def ask_silence(request: Request, session: Viewer, alert: RowId) -> Response:
    """Ask for how long, and why."""
    row = await _open(request, alert)
    return ask(
        request,
        session,
        "Silence this alert?",
        f"{row['text']}. Nobody is told of it for that long; here it stays.",
        "Silence",
        "/",
        fields=(
            Field("hours", "For", _HOURS),
            Field("reason", "Why", is_required=True),
        ),
    )


@router.post("/alerts/{alert}/silence")
async def silence(request: Request, session: Viewer, actions: Acting, alert: RowId) -> Response:
    """Silence the alert for a while."""
    form: dict[str, str] = request.state.form
    hours = form.get("hours", "")
    if hours not in dict(_HOURS):
        raise HTTPException(422, "say for how long")
    subject = await actions.silence(alert, timedelta(hours=int(hours)), form.get("reason", ""))
    return go_to(request, "/", session, f"Nobody is told of {subject} for {dict(_HOURS)[hours]}.")
