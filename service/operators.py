"""Operators: a bearer token for programs, a signed cookie for the pages."""

from fastapi import HTTPException, Request

from service.auth import bearer, is_accepted
from service.settings import Settings

COOKIE = "quicksilver_session"


def require_operator(request: Request) -> str:
    """The name under which an operator's action is logged.

    Without a configured token everybody on this machine is an operator: the service then binds to
    loopback only.

    Raises:
        HTTPException: 401 with what to do.
    """
    settings: Settings = request.app.state.settings
    if not settings.operator_tokens:
        return "local"
    if is_accepted(bearer(request.headers.get("authorization")), settings.operator_tokens):
        return "token"
    raise HTTPException(
        401,
        "an operator's token is needed: send Authorization: Bearer <token>",
        {"WWW-Authenticate": "Bearer"},
    )
