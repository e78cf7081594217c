"""Tells an open page to reload: server-sent events, fed by the ledger's NOTIFY."""

import asyncio
from collections.abc import AsyncGenerator
from time import monotonic

from fastapi import APIRouter, HTTPException, Request
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.responses import Response

from quicksilver.errors import LedgerUnavailableError
from quicksilver.ledger.listener import LedgerListener, wait_or_timeout
from quicksilver.web.access import known_session, refuse_foreign_pages
from quicksilver.web.pages.page import health_of, ledger_of

router = APIRouter(include_in_schema=False)

# Changes without a NOTIFY (a build that starts, an action) are seen within a second.
_TICK = 1.0

# A burst of events costs a few reads a second for all open pages, not one for each event.
_PAUSE = 0.25
# Shorter than the pause: a page never gets a result that was read before its event.
_FRESH = 0.2

_PING = 15


class Pulse:
    """A text that changes whenever pages do: one read of the ledger for all open pages."""

    def __init__(self) -> None:
        self._text = ""
        self._looked_at = float("-inf")
        self._looking = asyncio.Lock()

    async def read(self, request: Request) -> str:
        """The text, a moment old at most; `away` while the ledger is."""
        async with self._looking:
            if monotonic() - self._looked_at > _FRESH:
                self._looked_at = monotonic()
                self._text = await self._look(request)
            return self._text

    async def _look(self, request: Request) -> str:
        try:
            text = await ledger_of(request).overview.pulse()
        except LedgerUnavailableError:
            return "away"
        health = health_of(request).glance()
        return text + "".join(part.state[0] for part in health.parts) if health else text


@router.get("/live")
async def live(request: Request) -> Response:
    """A stream that says `changed` whenever pages differ; it ends with the session."""
    refuse_foreign_pages(request)
    if await known_session(request) is None:
        raise HTTPException(401, "log in first")
    return EventSourceResponse(_changes(request), ping=_PING)


async def _changes(request: Request) -> AsyncGenerator[ServerSentEvent]:
    wake: LedgerListener = request.app.state.wake
    shared: Pulse = request.app.state.pulse
    event = wake.subscribe()
    seen: str | None = None
    try:
        while True:
            try:
                if await known_session(request) is None:
                    return
                pulse = await shared.read(request)
            except LedgerUnavailableError:
                pulse = "away"
            if pulse != seen:
                yield ServerSentEvent(pulse, event="away" if pulse == "away" else "changed")
                seen = pulse
            await wait_or_timeout(event, _TICK)
            await asyncio.sleep(_PAUSE)
    finally:
        wake.unsubscribe(event)
