"""The quarantine: authentic bodies that could not be parsed, shown as harmless text."""

import contextlib
from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, HTTPException, Query, Request
from starlette.responses import Response

from quicksilver.domain.reasons import meaning_of
from quicksilver.support.postgres import Row
from quicksilver.support.text import escape_control_characters
from quicksilver.web.pages.asking import Acting, Field, ask
from quicksilver.web.pages.formats import hex_dump
from quicksilver.web.pages.page import PageRoute, Viewer, go_to, ledger_of, render, viewer
from quicksilver.web.params import RowId

router = APIRouter(route_class=PageRoute, include_in_schema=False)

Reason = Annotated[str, Query(max_length=300, pattern=r"^[^\x00]*$")]

_ROWS = 200

# As much of a body as a person reads; the rest is in the download.
_SHOWN = 16 * 1024
_DUMPED = 4 * 1024


@router.get("/quarantine")
async def quarantine(request: Request, session: Viewer) -> Response:
    """What is in quarantine, newest first."""
    ledger = ledger_of(request)
    return render(
        request,
        "quarantine.html",
        session,
        rows=await ledger.quarantine.list(limit=_ROWS),
        size=await ledger.overview.quarantine_size(),
        causes=await ledger.notices.quarantine_causes(),
        shown=_ROWS,
    )


@router.get("/quarantine/discard")
async def ask_discard_cause(request: Request, session: Viewer, reason: Reason) -> Response:
    """Ask whether to drop everything of one reason."""
    causes = await ledger_of(request).notices.quarantine_causes()
    if reason not in causes:
        raise HTTPException(404, f"quarantine holds nothing with the reason {reason}")
    return ask(
        request,
        session,
        f"Discard {causes[reason]} events?",
        f"All with the reason {reason}. Their bytes are deleted for good; what they told of, only a"
        " sweep will find.",
        "Discard",
        "/quarantine",
        fields=(Field("reason", "", kind="hidden", value=reason),),
        is_grave=True,
        action="/quarantine/discard",
    )


@router.post("/quarantine/discard")
async def discard_cause(request: Request, session: Viewer, actions: Acting) -> Response:
    """Drop them."""
    reason = request.state.form.get("reason", "")
    count = await actions.discard_cause(reason)
    return go_to(request, "/quarantine", session, f"{count} events with {reason} are discarded.")


@router.get("/quarantine/{row_id}")
async def quarantined(request: Request, session: Viewer, row_id: RowId) -> Response:
    """One body, as text and in hexadecimal."""
    row = await _row(request, row_id)
    body = bytes(row["body"])
    return render(
        request,
        "quarantined.html",
        session,
        row=row,
        meaning=meaning_of(row["reason"]),
        text=readable(body),
        dump=hex_dump(body[:_DUMPED]),
        shown=_SHOWN,
        dumped=_DUMPED,
    )


@router.get("/quarantine/{row_id}/raw", dependencies=[Depends(viewer)])
async def raw(request: Request, row_id: RowId) -> Response:
    """The body as a file to keep: no browser opens it."""
    row = await _row(request, row_id)
    return Response(
        bytes(row["body"]),
        media_type="application/octet-stream",
        headers={"Content-Disposition": f'attachment; filename="quarantine-{row_id}.bin"'},
    )


async def _row(request: Request, row_id: int) -> Row:
    row = await ledger_of(request).quarantine.body(row_id)
    if row is None:
        raise HTTPException(404, f"quarantine holds no row {row_id}: was it replayed, discarded?")
    return row


def readable(body: bytes) -> str:
    """The beginning of a body as text: JSON set out in lines, what cannot be read spelled out."""
    text = body[:_SHOWN].decode("utf-8", "backslashreplace")
    if len(body) <= _SHOWN:
        with contextlib.suppress(ValueError, RecursionError):
            text = orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2).decode()
    return escape_control_characters(text, keep="\n\t")
