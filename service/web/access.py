"""Operators: a bearer token for programs, a signed cookie for browsers."""

from fastapi import HTTPException, Request, Security
from fastapi.security import APIKeyCookie, HTTPBearer

from quicksilver.ledger import Ledger
from quicksilver.settings import Settings
from quicksilver.web.sessions import (
    COOKIE,
    CSRF_HEADER,
    Session,
    is_local_name,
    is_own_origin,
    session_of,
)
from quicksilver.web.throttle import address_of, failed_logins
from quicksilver.web.tokens import bearer, is_accepted

# For the API's schema only: the token is checked below, with a limit on guesses.
OPERATOR_SCHEMES = [
    Security(
        HTTPBearer(
            scheme_name="operatorToken",
            description="One of QUICKSILVER_OPERATOR_TOKENS, or QUICKSILVER_VIEWER_TOKENS to read",
            auto_error=False,
        )
    ),
    Security(
        APIKeyCookie(
            name=COOKIE,
            scheme_name="session",
            description="A browser's session; what changes something carries X-CSRF-Token too",
            auto_error=False,
        )
    ),
]
METRICS_SCHEME = Security(
    HTTPBearer(
        scheme_name="metricsToken",
        description="One of QUICKSILVER_METRICS_TOKENS, or an operator's or viewer's",
        auto_error=False,
    )
)
SENDER_SCHEME = Security(
    HTTPBearer(
        scheme_name="webhookToken",
        description="One of QUICKSILVER_WEBHOOK_TOKENS",
        auto_error=False,
    )
)


_READING = {"GET", "HEAD", "OPTIONS"}
_CHALLENGE = {"WWW-Authenticate": "Bearer"}


async def require_operator(request: Request) -> str:
    """The name under which an operator's action is logged.

    Without a configured token every user of this machine is an operator: the service then binds to
    loopback only. A browser's session may read as it is, and may change something only with its
    CSRF token in the header `X-CSRF-Token`.

    Raises:
        HTTPException: 401 or 403 with what to do.
    """
    settings: Settings = request.app.state.settings
    if not settings.operator_tokens:
        refuse_foreign_pages(request)
        return "local"
    session = await known_session(request)
    if session is None:
        raise HTTPException(
            401,
            "an operator's token is needed: send Authorization: Bearer <token>",
            _CHALLENGE,
        )
    if request.method in _READING:
        return session.actor
    refuse_viewers(session)
    if session.accepts(request.headers.get(CSRF_HEADER)):
        return session.actor
    raise HTTPException(403, "a browser's session changes nothing without X-CSRF-Token")


async def sees_rows(request: Request) -> bool:
    """Whether rows of the data may be shown: to an operator, and not to a viewer."""
    session = await known_session(request)
    return session is not None and session.role == "operator"


async def require_metrics(request: Request) -> None:
    """Let in requests that may read the metrics: a metrics token, or any that reads everything.

    Raises:
        HTTPException: 401 or 403 with what to do.
    """
    settings: Settings = request.app.state.settings
    if not is_accepted(bearer(request.headers.get("authorization")), settings.metrics_tokens):
        await require_operator(request)


async def known_session(request: Request) -> Session | None:
    """The request's session; None without one, or after its logout.

    Raises:
        HTTPException: 401 for a wrong bearer token, which is counted; 429 after too many of them.
        LedgerUnavailableError: it is not known whether the session was ended.
    """
    session = session_of(request.app.state.settings, request)
    if session is not None and session.id:
        ledger: Ledger = request.app.state.ledger
        return None if await ledger.operators.is_closed(session.id) else session
    if session is None and bearer(request.headers.get("authorization")) is not None:
        raise_for_guessing(request)
        raise HTTPException(
            401,
            "this token is not accepted: use one of QUICKSILVER_OPERATOR_TOKENS, or of"
            " QUICKSILVER_VIEWER_TOKENS to read",
            _CHALLENGE,
        )
    return session


def refuse_viewers(session: Session) -> None:
    """Refuse actions with a token that may only read.

    Raises:
        HTTPException: 403.
    """
    if session.role != "operator":
        raise HTTPException(403, "this token may only read: an operator's token is needed")


def raise_for_guessing(request: Request) -> None:
    """Count a wrong token against its address.

    Raises:
        HTTPException: 429 with the seconds to wait, when there were too many.
    """
    seconds = failed_logins(request.app.state).note(address_of(request))
    if seconds is not None:
        raise HTTPException(429, "too many wrong tokens", {"Retry-After": str(seconds)})


def refuse_foreign_pages(request: Request) -> None:
    """Refuse actions sent by other sites' pages, and reads under a foreign host name.

    Raises:
        HTTPException: 403.
    """
    settings: Settings = request.app.state.settings
    if not settings.operator_tokens and not is_local_name(settings, request):
        raise HTTPException(
            403, "without operator tokens only this machine's own names and addresses are answered"
        )
    if request.method not in _READING and not is_own_origin(settings, request):
        raise HTTPException(403, "another site's page asked for this: nothing was done")
