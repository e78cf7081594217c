"""What operators do: each action asks first, on a page that works without JavaScript.

The page's script shows the same question in a dialog. What is done is the API's own doing, so it
is checked, carried out and logged in the same way.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

from fastapi import APIRouter, HTTPException, Request
from starlette.responses import Response

from quicksilver.domain.partition import Partition
from quicksilver.web import api
from quicksilver.web.pages.page import (
    Actor,
    PageRoute,
    Viewer,
    go_to,
    ledger_of,
    partition_url,
    render,
)
from quicksilver.web.params import Name, PartitionName, RowId
from quicksilver.web.sessions import Session

router = APIRouter(route_class=PageRoute, include_in_schema=False)

# Longer than this, a listing goes on without its reader.
_PATIENCE = 5.0

_sweeps: set[asyncio.Task[object]] = set()

Switch = Literal["pause", "resume"]


@dataclass(frozen=True, slots=True)
class _Switching:
    """What is asked before, what is done, and what is said after it."""

    question: str
    act: Callable[[Request, str, str], Awaitable[dict[str, Any]]]
    changed: str
    unchanged: str


_SWITCHES: dict[Switch, _Switching] = {
    "pause": _Switching(
        "No new build of it begins until somebody resumes it; those that run are finished. Events"
        " are recorded as before, and accumulate.",
        api.pause,
        "is paused",
        "was paused already",
    ),
    "resume": _Switching(
        "What accumulated is built, one build a partition, however many events came.",
        api.resume,
        "is resumed",
        "was not paused",
    ),
}


def _ask(
    request: Request,
    session: Session,
    title: str,
    text: str,
    button: str,
    back: str,
    *,
    is_grave: bool = False,
) -> Response:
    return render(
        request,
        "confirm.html",
        session,
        title=title,
        text=text,
        button=button,
        back=back,
        is_grave=is_grave,
    )


@router.get("/partitions/{dataset}/{partition:path}/rebuild")
async def ask_rebuild(
    request: Request, session: Viewer, dataset: Name, partition: PartitionName
) -> Response:
    """Ask whether to build a partition anew."""
    row = await ledger_of(request).views.partition(Partition(dataset, partition))
    if row is None:
        raise HTTPException(404, f"nothing of {dataset}/{partition} ever landed")
    return _ask(
        request,
        session,
        f"Rebuild {dataset}/{partition}?",
        f"Its generation rises from {row['generation']} to {row['generation'] + 1}, and silver is"
        " built anew from what bronze holds, though nothing changed. Until that is committed,"
        " readers see what is there now.",
        "Rebuild",
        partition_url(dataset, partition),
    )


@router.post("/partitions/{dataset}/{partition:path}/rebuild")
async def rebuild(
    request: Request, session: Viewer, actor: Actor, dataset: Name, partition: PartitionName
) -> Response:
    """Build a partition anew."""
    done = await api.rebuild(request, dataset, partition, actor)
    return go_to(
        request,
        partition_url(dataset, partition),
        session,
        f"{dataset}/{partition} will be built as generation {done['generation']}.",
    )


@router.get("/datasets/{dataset}/{action}")
async def ask_switch(request: Request, session: Viewer, dataset: Name, action: Switch) -> Response:
    """Ask whether to stop building a dataset, or to build it again."""
    if dataset not in ledger_of(request).datasets.by_name:
        raise HTTPException(404, f"dataset {dataset} is not declared in datasets.yaml")
    verb = action.capitalize()
    return _ask(request, session, f"{verb} {dataset}?", _SWITCHES[action].question, verb, "/")


@router.post("/datasets/{dataset}/{action}")
async def switch(
    request: Request, session: Viewer, actor: Actor, dataset: Name, action: Switch
) -> Response:
    """Stop building a dataset, or build it again."""
    chosen = _SWITCHES[action]
    done = await chosen.act(request, dataset, actor)
    was = chosen.changed if done["changed"] else chosen.unchanged
    return go_to(request, "/", session, f"{dataset} {was}.")


@router.get("/reconcile")
async def ask_reconcile(request: Request, session: Viewer) -> Response:
    """Ask whether to compare bronze with the ledger now."""
    return _ask(
        request,
        session,
        "Reconcile now?",
        "Bronze is listed and compared with the ledger, for every dataset. What no event told of"
        " is built. Nothing is deleted.",
        "Reconcile",
        "/",
    )


@router.post("/reconcile")
async def reconcile(request: Request, session: Viewer, actor: Actor) -> Response:
    """Compare bronze with the ledger now; a long listing goes on by itself."""
    task = asyncio.create_task(api.reconcile(request, actor))
    _sweeps.add(task)
    task.add_done_callback(_sweeps.discard)
    done, _ = await asyncio.wait({task}, timeout=_PATIENCE)
    if done:
        text = " ".join(
            f"{r['dataset']}: {r['listed']} objects listed, {r['found']} that no event told of,"
            f" {r['gone']} partitions lost objects."
            for r in task.result()["datasets"]
        )
    else:
        text = "Bronze is being listed; the proof says when it was last compared."
    return go_to(request, "/", session, text or "No dataset is declared.")


@router.get("/quarantine/{row_id}/replay")
async def ask_replay(request: Request, session: Viewer, row_id: RowId) -> Response:
    """Ask whether to take a quarantined body again."""
    return _ask(
        request,
        session,
        f"Replay event {row_id}?",
        "It is taken as if it had just come. Understood, it leaves the quarantine; if not, it"
        " stays.",
        "Replay",
        f"/quarantine/{row_id}",
    )


@router.post("/quarantine/{row_id}/replay")
async def replay(request: Request, session: Viewer, actor: Actor, row_id: RowId) -> Response:
    """Take a quarantined body again."""
    done = await api.replay(request, row_id, actor)
    return go_to(request, "/quarantine", session, f"Event {row_id}: {done['outcome']}.")


@router.get("/quarantine/{row_id}/discard")
async def ask_discard(request: Request, session: Viewer, row_id: RowId) -> Response:
    """Ask whether to drop a quarantined body."""
    return _ask(
        request,
        session,
        f"Discard event {row_id}?",
        "Its bytes are deleted for good. If it told of an object, only a sweep will find that.",
        "Discard",
        f"/quarantine/{row_id}",
        is_grave=True,
    )


@router.post("/quarantine/{row_id}/discard")
async def discard(request: Request, session: Viewer, actor: Actor, row_id: RowId) -> Response:
    """Drop a quarantined body."""
    await api.discard(request, row_id, actor)
    return go_to(request, "/quarantine", session, f"Event {row_id} is discarded.")
