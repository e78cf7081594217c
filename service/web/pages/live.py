"""What tells an open page to look again: server-sent events, fed by the ledger's NOTIFY."""

import asyncio
from collections.abc import AsyncGenerator

from fastapi import APIRouter, HTTPException, Request
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.responses import Response

from quicksilver.errors import LedgerUnavailableError
from quicksilver.ledger.listener import LedgerListener, wait_or_timeout
from quicksilver.web.access import known_session, refuse_foreign_pages
from quicksilver.web.pages.page import health_of, ledger_of

router = APIRouter(include_in_schema=False)

# What changes without a NOTIFY (a build that starts, an action) is seen within a second.
_TICK = 1.0

# A burst of events is one look, a few times a second, not one each.
_PAUSE = 0.25

_PING = 15


@router.get("/live")
async def live(request: Request) -> Response:
    """A stream that says `changed` whenever pages differ; it ends with the session."""
    refuse_foreign_pages(request)
    if await known_session(request) is None:
        raise HTTPException(401, "log in first")
    return EventSourceResponse(_changes(request), ping=_PING)


async def _changes(request: Request) -> AsyncGenerator[ServerSentEvent]:
    wake: LedgerListener = request.app.state.wake
    ledger = ledger_of(request)
    event = wake.subscribe()
    seen: str | None = None
    try:
        while True:
            try:
                if await known_session(request) is None:
                    return
                pulse = await ledger.overview.pulse()
                health = health_of(request).glance()
                if health is not None:
                    pulse += "".join(part.state[0] for part in health.parts)
            except LedgerUnavailableError:
                pulse = "away"
            if pulse != seen:
                yield ServerSentEvent(pulse, event="away" if pulse == "away" else "changed")
                seen = pulse
            await asyncio.sleep(_PAUSE)
            await wait_or_timeout(event, _TICK)
    finally:
        wake.unsubscribe(event)
