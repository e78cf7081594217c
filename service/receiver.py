"""The receiver: authenticate, parse, record, commit, and only then answer 2xx.

A sender's durable queue sends the same event again until it gets a 2xx, and nothing behind it
moves. So 5xx is only for what passes by itself (the ledger away); what is authentic but wrong is
kept in quarantine and answered 2xx.
"""

import asyncio
from typing import Annotated, Any, cast

import structlog
from fastapi import APIRouter, Query, Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from service import clock
from service.auth import bearer, is_accepted
from service.errors import LedgerUnavailableError, PayloadError
from service.intake import Lane, arrive
from service.lane_faults import Refusals
from service.ledger import Ledger
from service.metrics import EVENTS, RECEIVE_SECONDS
from service.notification import parse
from service.recorder import Recorder
from service.settings import Settings

_log = structlog.get_logger(__name__)

router = APIRouter(tags=["events"])

# A sender that needs longer for one megabyte is holding the connection, not sending.
_BODY_SECONDS = 20.0

# MinIO tries again by itself; others may honour it.
_RETRY_AFTER = {"Retry-After": "3"}


class BodyTooLargeError(Exception):
    """The body is over the limit."""


async def read_body(request: Request, limit: int) -> bytes:
    """The body, counted while it streams: a declared length is believed by nobody.

    Raises:
        BodyTooLargeError: over `limit` bytes.
        TimeoutError: not complete in time.
    """
    body = bytearray()
    async with asyncio.timeout(_BODY_SECONDS):
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise BodyTooLargeError
    return bytes(body)


def answer(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    """A plain-text answer."""
    return Response(text + "\n", status, headers, media_type="text/plain")


@router.get("/events/minio", summary="Whether the token is accepted; records nothing")
@router.head("/events/minio", include_in_schema=False)
async def probe(request: Request) -> Response:
    """Answer 200 to a probe with a right token, 401 otherwise."""
    settings: Settings = request.app.state.settings
    if not is_accepted(bearer(request.headers.get("authorization")), settings.webhook_tokens):
        return answer(401, "unknown token")
    return answer(200, "ready")


@router.post(
    "/events/minio",
    summary="Take a MinIO or S3 notification",
    responses={
        200: {"description": "Durable: recorded, ignored or quarantined, as the text says"},
        401: {"description": "Missing or unknown token"},
        408: {"description": "The body did not arrive in time"},
        413: {"description": "The body is over the limit"},
        503: {"description": "The ledger is away: nothing was recorded, send again"},
    },
)
async def receive(
    request: Request,
    lane: Annotated[str, Query(description="fast or durable; set by `quicksilver init`")] = "push",
) -> Response:
    """Record a notification; the answer comes after the commit that makes it durable."""
    settings: Settings = request.app.state.settings
    started = asyncio.get_running_loop().time()
    # The token first: nobody unknown gets a byte of memory.
    if not is_accepted(bearer(request.headers.get("authorization")), settings.webhook_tokens):
        EVENTS.labels("none", "none", "unauthorized").inc()
        refused: Refusals = request.app.state.refusals
        refused.note(request.query_params.get("lane"))
        return answer(401, "unknown token: set the webhook target's auth_token to an accepted one")
    source = request.client.host if request.client else "unknown"
    try:
        body = await read_body(request, settings.body_limit)
    except BodyTooLargeError:
        return answer(413, f"the body is over {settings.body_limit} bytes")
    except TimeoutError:
        return answer(408, "the body did not arrive in time")
    except ClientDisconnect:
        return answer(400, "the sender hung up before the body was complete")
    known = cast("Lane", lane if lane in ("fast", "durable") else "push")
    try:
        text = await take(request.app.state, body, known, source)
    except LedgerUnavailableError as error:
        _log.warning("an event could not be recorded", error=str(error))
        EVENTS.labels(known, "none", "ledger-unavailable").inc()
        return answer(503, str(error), _RETRY_AFTER)
    RECEIVE_SECONDS.observe(asyncio.get_running_loop().time() - started)
    return answer(200, text)


async def take(state: Any, body: bytes, lane: Lane, source: str) -> str:
    """Record one body: its events, or itself in quarantine; what was done, in words.

    Raises:
        LedgerUnavailableError: nothing was recorded.
    """
    settings: Settings = state.settings
    ledger: Ledger = state.ledger
    recorder: Recorder = state.recorder
    if not body.strip():
        return "a probe: nothing to record"
    problem: str | None = None
    reasons: list[str] = []
    try:
        notification = parse(body)
        problem = notification.problems[0] if notification.problems else None
        now = clock.now()
        arrivals = [
            arrive(event, ledger.datasets, lane, source, now) for event in notification.events
        ]
        reasons = await recorder.record(arrivals)
        for arrival, reason in zip(arrivals, reasons, strict=True):
            EVENTS.labels(lane, arrival.event.ignored or "create", reason).inc()
    except PayloadError as error:
        problem = str(error)
    if problem is not None:
        await ledger.quarantine(
            body,
            reason=problem,
            lane=lane,
            source=source,
            max_rows=settings.quarantine_limit,
            max_bytes=settings.quarantine_bytes,
        )
        EVENTS.labels(lane, "none", "quarantined").inc()
        _log.warning("quarantined a body", reason=problem, source=source, size=len(body))
        return f"quarantined: {problem}"
    return ", ".join(sorted(set(reasons))) or "nothing to record"
