"""One partition: its way to silver, its builds, its events."""

from collections.abc import Callable, Sequence
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from starlette.responses import Response

from quicksilver.domain.partition import Partition
from quicksilver.domain.states import BuildState, PartitionState
from quicksilver.operators.condition import condition
from quicksilver.settings import Settings
from quicksilver.support import clock
from quicksilver.support.postgres import Row
from quicksilver.web.pages.charts import Chart, Point, chart
from quicksilver.web.pages.formats import number, span
from quicksilver.web.pages.page import PageRoute, Viewer, ledger_of, partition_url, render
from quicksilver.web.pages.timeline import Way, origin, ways, whole
from quicksilver.web.params import Name, PartitionName

router = APIRouter(route_class=PageRoute, include_in_schema=False)

ACTIVE = tuple(state for state in BuildState if state.is_active)

# A gone partition in another state is about to be emptied, or could not be.
SETTLED = (PartitionState.BUILT, PartitionState.WAITING)

_BUILDS = 30
_EVENTS = 50


@router.get("/partitions/{dataset}/{partition:path}")
async def show(
    request: Request, session: Viewer, dataset: Name, partition: PartitionName
) -> Response:
    """Where a partition is, and why."""
    ledger = ledger_of(request)
    which = Partition(dataset, partition)
    row = await ledger.views.partition(which)
    if row is None:
        raise HTTPException(404, f"nothing of {which} ever landed")
    builds = await ledger.views.builds(which, limit=_BUILDS)
    now = clock.now()
    newest = builds[0] if builds else None
    found = ways(builds, now, ACTIVE)
    events = await ledger.views.events(dataset=dataset, partition=partition, limit=_EVENTS)
    details = _details(builds)
    way = whole(builds, found, row, now)
    return render(
        request,
        "partition.html",
        session,
        partition=row,
        state="gone" if row["gone_at"] and row["state"] in SETTLED else row["shown_state"],
        condition=condition(row),
        way=way,
        builds=[
            {**build, "way": one, "origin": origin(build, events)}
            for build, one in zip(builds, found, strict=True)
        ],
        details=details,
        charts=_charts(builds, found),
        most=_BUILDS,
        tries=len({moment.attempt for moment in way.moments}),
        button=_button(row),
        neighbours=await ledger.finding.neighbours(which),
        # Rows of the data: a viewer sees only that the test failed.
        failed_rows=_sequence(newest["failed_rows"])
        if newest is not None and session.role == "operator"
        else [],
        # A column is new to bronze in one build only: shown as long as that one is listed.
        new_columns=[
            (build["id"], columns)
            for build in builds
            if isinstance(build["details"], dict)
            and (columns := _sequence(build["details"].get("new_columns")))
        ],
        events=events,
        actions=await ledger.operators.actions(subject=str(which), limit=10),
        run_url=run_url(request.app.state.settings),
        is_declared=dataset in ledger.datasets.by_name,
        attempts=ledger.datasets.by_name[dataset].attempts
        if dataset in ledger.datasets.by_name
        else None,
    )


def _button(row: Row) -> tuple[str, str] | None:
    """The action to offer now: the address of its question, and the button's label."""
    name = row["partition"]
    rebuild = partition_url(row["dataset"], name, "rebuild")
    if row["gone_at"]:
        return None
    match row["shown_state"]:
        case PartitionState.PAUSED:
            return f"/datasets/{row['dataset']}/resume", "Resume the dataset"
        case PartitionState.WAITING | PartitionState.PENDING:
            return rebuild, "Build it now"
        case PartitionState.RUNNING:
            return None
        case _:
            return rebuild, "Rebuild"


def _charts(builds: Sequence[Row], found: Sequence[Way]) -> dict[str, Chart]:
    """The builds compared, oldest first: seconds of their own, rows, and the share rejected."""
    pairs = list(zip(builds, found, strict=True))[::-1]

    def points(value: Callable[[Row, Way], float | None], say: Callable[[float], str]) -> Chart:
        return chart(
            [
                Point(
                    at := value(build, way),
                    f"build {build['id']}, {build['state']}: {'' if at is None else say(at)}",
                    "failed" if build["state"] in (BuildState.FAILED, BuildState.LOST) else "",
                )
                for build, way in pairs
            ],
            say,
        )

    return {
        "seconds": points(lambda _, way: way.own, span),
        "rows": points(lambda build, _: build["rows_bronze"], number),
        "rejected": points(_rejected, lambda percent: f"{percent:.1f} %"),
    }


def _rejected(build: Row, _: Way) -> float | None:
    rows: int | None = build["rows_bronze"]
    return 100 * (build["rows_rejected"] or 0) / rows if rows else None


def run_url(settings: Settings) -> str:
    """Where Prefect shows a run, without its id."""
    ui = settings.prefect_ui_url or settings.prefect_api_url.removesuffix("/api")
    return f"{ui.rstrip('/')}/runs/flow-run/"


def _details(builds: list[Row]) -> dict[str, Any] | None:
    """What the newest build that published said about itself; any shape is taken."""
    for build in builds:
        found = build["details"]
        if isinstance(found, dict):
            return {
                "build": build["id"],
                "rejected": _by_weight(found.get("rejected_by_reason")),
                "timings": _by_weight(found.get("timings")),
                "together": found["together"] if isinstance(found.get("together"), int) else 1,
                "warnings": _sequence(found.get("warnings")),
                "dbt": [node for node in _sequence(found.get("dbt")) if isinstance(node, dict)],
            }
    return None


def _by_weight(value: object) -> list[tuple[str, Any]]:
    """Names with their numbers, the largest first."""
    pairs = [(str(k), v) for k, v in value.items()] if isinstance(value, dict) else []
    return sorted(pairs, key=lambda pair: -pair[1] if isinstance(pair[1], int | float) else 0)


def _sequence(value: object) -> list[Any]:
    return list(value) if isinstance(value, list) else []
