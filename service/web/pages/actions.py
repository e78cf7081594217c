"""What operators do: each action asks first, on a page that works without JavaScript.

The page's script shows the same question in a dialog. What is done is in
`operators.actions`, for the API and the command line too.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from fastapi import APIRouter, HTTPException, Request
from starlette.responses import Response

from quicksilver.domain.partition import Partition
from quicksilver.domain.states import PartitionState
from quicksilver.operators.actions import Actions
from quicksilver.operators.reconciling import Reconciler
from quicksilver.support.postgres import Row
from quicksilver.web.pages.asking import Acting, Field, ask
from quicksilver.web.pages.page import PageRoute, Viewer, go_to, ledger_of, partition_url
from quicksilver.web.params import Name, PartitionName, RowId

router = APIRouter(route_class=PageRoute, include_in_schema=False)

# Longer than this, a listing goes on without its reader.
_PATIENCE = 5.0

Switch = Literal["pause", "resume"]


@dataclass(frozen=True, slots=True)
class _Switching:
    """An action's question, its function, and the message after it."""

    question: str
    act: Callable[[Actions, str, str], Awaitable[bool]]
    changed: str
    unchanged: str
    asks_why: bool = False


_SWITCHES: dict[Switch, _Switching] = {
    "pause": _Switching(
        "No new build of it begins until somebody resumes it; those that run are finished. Events"
        " are recorded as before, and accumulate.",
        Actions.pause,
        "is paused",
        "was paused already",
        asks_why=True,
    ),
    "resume": _Switching(
        "What accumulated is built, one build a partition, however many events came.",
        lambda actions, dataset, _: actions.resume(dataset),
        "is resumed",
        "was not paused",
    ),
}


@router.get("/partitions/{dataset}/{partition:path}/rebuild")
async def ask_rebuild(
    request: Request, session: Viewer, dataset: Name, partition: PartitionName
) -> Response:
    """Ask whether to build a partition anew."""
    row = await ledger_of(request).views.partition(Partition(dataset, partition))
    if row is None:
        raise HTTPException(404, f"nothing of {dataset}/{partition} ever landed")
    return ask(
        request,
        session,
        f"Rebuild {dataset}/{partition}?",
        f"Its generation rises from {row['generation']} to {row['generation'] + 1}. {_effect(row)}",
        "Rebuild",
        partition_url(dataset, partition),
    )


def _effect(row: Row) -> str:
    """What a rebuild will really do, as the partition is now."""
    if row["gone_at"]:
        return (
            "Bronze holds no object of it: nothing is built, and silver stays as it is. Put the"
            " object again, and it is built by itself."
        )
    if row["shown_state"] == PartitionState.PAUSED:
        return "Its dataset is paused: it is built when somebody resumes that, and not before."
    if row["shown_state"] == PartitionState.RUNNING:
        return "The build that runs is finished first; then silver is built once more."
    if row["wait_reason"]:
        return (
            f"It waits ({row['wait_reason']}): a rebuild does not, and builds what bronze holds of"
            " it now."
        )
    return (
        "Silver is built anew from what bronze holds, though nothing changed. Until that is"
        " committed, readers see what is there now."
    )


@router.post("/partitions/{dataset}/{partition:path}/rebuild")
async def rebuild(
    request: Request,
    session: Viewer,
    actions: Acting,
    dataset: Name,
    partition: PartitionName,
) -> Response:
    """Build a partition anew."""
    generation = await actions.rebuild(Partition(dataset, partition))
    return go_to(
        request,
        partition_url(dataset, partition),
        session,
        f"{dataset}/{partition} will be built as generation {generation}.",
    )


@router.get("/datasets/{dataset}/{action}")
async def ask_switch(request: Request, session: Viewer, dataset: Name, action: Switch) -> Response:
    """Ask whether to stop building a dataset, or to build it again."""
    if dataset not in ledger_of(request).datasets.by_name:
        raise HTTPException(404, f"dataset {dataset} is not declared in datasets.yaml")
    verb = action.capitalize()
    chosen = _SWITCHES[action]
    fields = [Field("reason", "Why (others read it beside the dataset)")] if chosen.asks_why else []
    return ask(request, session, f"{verb} {dataset}?", chosen.question, verb, "/", fields=fields)


@router.post("/datasets/{dataset}/{action}")
async def switch(
    request: Request, session: Viewer, actions: Acting, dataset: Name, action: Switch
) -> Response:
    """Stop building a dataset, or build it again."""
    chosen = _SWITCHES[action]
    reason = request.state.form.get("reason", "")
    was = chosen.changed if await chosen.act(actions, dataset, reason) else chosen.unchanged
    return go_to(request, "/", session, f"{dataset} {was}.")


@router.get("/reconcile")
async def ask_reconcile(request: Request, session: Viewer) -> Response:
    """Ask whether to compare bronze with the ledger now."""
    return ask(
        request,
        session,
        "Reconcile now?",
        "Bronze is listed and compared with the ledger, for every dataset. What no event told of"
        " is built. Nothing is deleted.",
        "Reconcile",
        "/",
    )


@router.post("/reconcile")
async def reconcile(request: Request, session: Viewer, actions: Acting) -> Response:
    """Compare bronze with the ledger now; a long listing goes on by itself."""
    reconciler: Reconciler = request.app.state.reconciler
    last = reconciler.start(actions)
    await reconciler.wait(_PATIENCE)
    if last.state == "running":
        text = "Bronze is being listed; the proof says when it was last compared."
    elif last.state == "failed":
        text = f"Bronze could not be compared: {last.error}"
    else:
        text = " ".join(f"{r.sentence}." for r in last.results)
    return go_to(request, "/", session, text or "No dataset is declared.")


@router.get("/quarantine/{row_id}/replay")
async def ask_replay(request: Request, session: Viewer, row_id: RowId) -> Response:
    """Ask whether to take a quarantined body again."""
    return ask(
        request,
        session,
        f"Replay event {row_id}?",
        "It is taken as if it had just come. Parsed this time, it leaves the quarantine;"
        " if not, it stays.",
        "Replay",
        f"/quarantine/{row_id}",
    )


@router.post("/quarantine/{row_id}/replay")
async def replay(request: Request, session: Viewer, actions: Acting, row_id: RowId) -> Response:
    """Take a quarantined body again."""
    outcome = await actions.replay(row_id, request.app.state)
    return go_to(request, "/quarantine", session, f"Event {row_id}: {outcome}.")


@router.get("/quarantine/{row_id}/discard")
async def ask_discard(request: Request, session: Viewer, row_id: RowId) -> Response:
    """Ask whether to drop a quarantined body."""
    return ask(
        request,
        session,
        f"Discard event {row_id}?",
        "Its bytes are deleted for good. If it told of an object, only a sweep will find that.",
        "Discard",
        f"/quarantine/{row_id}",
        is_grave=True,
    )


@router.post("/quarantine/{row_id}/discard")
async def discard(request: Request, session: Viewer, actions: Acting, row_id: RowId) -> Response:
    """Drop a quarantined body."""
    await actions.discard(row_id)
    return go_to(request, "/quarantine", session, f"Event {row_id} is discarded.")
