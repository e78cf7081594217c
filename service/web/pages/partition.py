"""One partition: its way to silver, its builds, its events."""

from typing import Any

from fastapi import APIRouter, HTTPException, Request
from starlette.responses import Response

from quicksilver.domain.partition import Partition
from quicksilver.operators.condition import condition
from quicksilver.settings import Settings
from quicksilver.support import clock
from quicksilver.support.postgres import Row
from quicksilver.web.pages.page import PageRoute, Viewer, ledger_of, render
from quicksilver.web.pages.timeline import way
from quicksilver.web.params import Name, PartitionName

router = APIRouter(route_class=PageRoute, include_in_schema=False)

ACTIVE = ("claimed", "dispatched", "running", "published", "yielded")

# A partition that is gone and in another state is about to be emptied, or could not be.
SETTLED = ("built", "waiting")

_BUILDS = 20
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
    covers_newest = newest is not None and newest["generation"] == row["generation"]
    is_dirty = row["state"] in ("waiting", "pending")
    details = _details(builds)
    return render(
        request,
        "partition.html",
        session,
        partition=row,
        state="gone" if row["gone_at"] and row["state"] in SETTLED else row["shown_state"],
        condition=condition(
            row,
            newest["state"] if newest is not None and newest["state"] in ACTIVE else None,
            len(details["warnings"]) if details else 0,
        ),
        # A change that no build took up yet is on its way, too.
        way=way(newest, now, is_active=newest["state"] in ACTIVE)
        if newest is not None and (covers_newest or not is_dirty)
        else way({"put_at": row["put_at"], "received_at": row["received_at"]}, now, is_active=True),
        builds=[
            {**build, "way": way(build, now, is_active=build["state"] in ACTIVE)}
            for build in builds
        ],
        details=details,
        # A column is new to bronze in one build only: told as long as that one is listed.
        new_columns=[
            (build["id"], columns)
            for build in builds
            if isinstance(build["details"], dict)
            and (columns := _sequence(build["details"].get("new_columns")))
        ],
        events=await ledger.views.events(dataset=dataset, partition=partition, limit=_EVENTS),
        actions=await ledger.operators.actions(subject=str(which), limit=10),
        run_url=run_url(request.app.state.settings),
        is_declared=dataset in ledger.datasets.by_name,
        attempts=ledger.datasets.by_name[dataset].attempts
        if dataset in ledger.datasets.by_name
        else None,
    )


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
