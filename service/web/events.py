"""The receiver: authenticate, parse, record, commit, and only then answer 2xx.

A sender's durable queue repeats the same event until it gets a 2xx, and sends no later one
before that. So 5xx is only for temporary trouble (the ledger is away); what is authentic but
wrong is kept in quarantine and answered 2xx.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, cast

import psycopg
import structlog
from fastapi import APIRouter, Query, Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from quicksilver.domain.arrival import Lane
from quicksilver.errors import LedgerUnavailableError
from quicksilver.intake.record import record_body
from quicksilver.intake.refusals import Refusals
from quicksilver.settings import Settings
from quicksilver.support import failpoint
from quicksilver.support.metrics import EVENTS, RECEIVE_SECONDS
from quicksilver.web.access import SENDER_SCHEME
from quicksilver.web.body import BodyTooLargeError, read_body
from quicksilver.web.throttle import address_of, failed_logins
from quicksilver.web.tokens import bearer, is_accepted

_log = structlog.get_logger(__name__)

router = APIRouter(tags=["events"], dependencies=[SENDER_SCHEME])

# A ledger that takes longer hangs. The outcome is then unknown; an event sent twice counts once.
_RECORD_SECONDS = 20.0

# MinIO retries anyway; other senders may honour the header.
_RETRY_AFTER = {"Retry-After": "3"}

# The rest of a refused body is not read.
_HANG_UP = {"Connection": "close"}


Open = Callable[[bytes], Awaitable[bytes | Response]]


def answer(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    """A plain-text answer."""
    return Response(text + "\n", status, headers, media_type="text/plain")


def reject_unless_authorized(
    request: Request, token: str | None = None, challenge: str = "Bearer"
) -> Response | None:
    """The refusal of an unauthorized request, None for an authorized one; wrong tokens are counted
    by address.

    The token is the `Authorization` header's unless it came in another way.
    """
    settings: Settings = request.app.state.settings
    presented = token or bearer(request.headers.get("authorization"))
    if is_accepted(presented, settings.webhook_tokens):
        return None
    EVENTS.labels("none", "none", "unauthorized").inc()
    refused: Refusals = request.app.state.refusals
    refused.note(request.query_params.get("lane"))
    wait = failed_logins(request.app.state).note(address_of(request))
    if wait is not None:
        headers = {"Retry-After": str(wait), **_HANG_UP}
        return answer(429, "unknown token, too often from this address", headers)
    return answer(
        401,
        "unknown token: set the webhook target's auth_token to an accepted one",
        {"WWW-Authenticate": challenge, **_HANG_UP},
    )


_REFUSALS: dict[int | str, dict[str, str]] = {
    401: {"description": "Missing or unknown token"},
    429: {"description": "Unknown token, too often from this address"},
}


@router.get(
    "/events/minio",
    summary="Whether the token is accepted; records nothing",
    responses={200: {"description": "The token is accepted"}, **_REFUSALS},
)
@router.head("/events/minio", include_in_schema=False)
async def probe(request: Request) -> Response:
    """Answer 200 to a probe with a right token, 401 otherwise."""
    return reject_unless_authorized(request) or answer(200, "ready")


@router.post(
    "/events/minio",
    summary="Take a MinIO or S3 notification",
    responses={
        200: {"description": "Durable: recorded, ignored or quarantined, as the text says"},
        400: {"description": "The sender hung up before the body was complete"},
        408: {"description": "The body did not arrive in time"},
        413: {"description": "The body is over the limit"},
        503: {"description": "The ledger is away: nothing was recorded, send again"},
        **_REFUSALS,
    },
)
async def receive(
    request: Request,
    lane: Annotated[str, Query(description="fast or durable; set by `quicksilver init`")] = "push",
) -> Response:
    """Record a notification; the answer comes after the commit that makes it durable."""
    # The token is checked first: an unknown sender gets no memory.
    refused = reject_unless_authorized(request)
    if refused is not None:
        return refused
    return await receive_body(request, known_lane(lane))


def known_lane(name: str) -> Lane:
    """The lane named in an address; any other name means a plain push."""
    return cast("Lane", name if name in ("fast", "durable") else "push")


async def receive_body(request: Request, lane: Lane, unwrap: Open | None = None) -> Response:
    """Read the body of a sender that may speak, record it, and answer.

    `unwrap` takes an envelope off, or has an answer of its own.
    """
    settings: Settings = request.app.state.settings
    started = asyncio.get_running_loop().time()
    source = address_of(request)
    try:
        body = await read_body(request, settings.body_limit)
    except BodyTooLargeError:
        return answer(413, f"the body is over {settings.body_limit} bytes", _HANG_UP)
    except TimeoutError:
        return answer(408, "the body did not arrive in time", _HANG_UP)
    except ClientDisconnect:
        return answer(400, "the sender hung up before the body was complete", _HANG_UP)
    if unwrap is not None:
        content = await unwrap(body)
        if isinstance(content, Response):
            return content
        body = content
    try:
        async with asyncio.timeout(_RECORD_SECONDS):
            parent = request.headers.get("traceparent")
            recorded = await record_body(request.app.state, body, lane, source, parent)
    except (LedgerUnavailableError, TimeoutError, psycopg.Error) as error:
        # The driver's message stays in the log: it may quote rows of the ledger.
        why = str(error) if isinstance(error, LedgerUnavailableError) else "the ledger is unwell"
        _log.warning("an event could not be recorded", error=repr(error))
        EVENTS.labels(lane, "none", "ledger-unavailable").inc()
        return answer(503, why, _RETRY_AFTER)
    failpoint.reach("after-commit-before-2xx")
    RECEIVE_SECONDS.observe(asyncio.get_running_loop().time() - started)
    if recorded.reply is not None:
        return Response(recorded.reply, media_type="application/json")
    return answer(200, recorded.text)
