"""What Prefect keeps of a build's run: its log, shown here; its report, shown there."""

from uuid import UUID

from fastapi import APIRouter, Depends, HTTPException, Request
from starlette.responses import RedirectResponse, Response

from quicksilver.errors import PrefectUnavailableError
from quicksilver.operators.runs import MOST_LINES, LogLine, log_of, report_of
from quicksilver.support.postgres import Row
from quicksilver.web.access import refuse_viewers
from quicksilver.web.pages.page import PageRoute, Viewer, ledger_of, render, viewer
from quicksilver.web.pages.partition import run_url
from quicksilver.web.params import RowId

router = APIRouter(route_class=PageRoute, include_in_schema=False)


async def _build(request: Request, build: int) -> tuple[Row, UUID]:
    """A build, and its run."""
    row = await ledger_of(request).views.build(build)
    if row is None or row["flow_run_id"] is None:
        raise HTTPException(404, f"no build {build} was given to Prefect")
    return row, row["flow_run_id"]


@router.get("/builds/{build}/log")
async def log(request: Request, session: Viewer, build: RowId) -> Response:
    """The log of a build's run, dbt's output in it; not for viewers: it may quote rows."""
    refuse_viewers(session)
    row, run = await _build(request, build)
    lines: list[LogLine] = []
    problem = None
    try:
        lines = await log_of(request.app.state.settings, run)
    except PrefectUnavailableError as error:
        problem = str(error)
    return render(
        request,
        "log.html",
        session,
        build=row,
        lines=lines,
        problem=problem,
        most=MOST_LINES,
        run_url=run_url(request.app.state.settings),
    )


@router.get("/builds/{build}/report", dependencies=[Depends(viewer)])
async def report(request: Request, build: RowId) -> Response:
    """On to the report that the run left in Prefect, or to the run where there is none."""
    _, run = await _build(request, build)
    settings = request.app.state.settings
    runs = run_url(settings)
    artifact = await report_of(settings, run)
    ui = runs.removesuffix("/runs/flow-run/")
    there = f"{ui}/artifacts/artifact/{artifact}" if artifact else f"{runs}{run}?tab=Artifacts"
    return RedirectResponse(there, 303)
