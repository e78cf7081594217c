"""Logging in with an operator's token, and out."""

from typing import Annotated
from urllib.parse import urlsplit

import structlog
from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from quicksilver.settings import Settings
from quicksilver.web.access import known_session, raise_for_guessing, refuse_foreign_pages
from quicksilver.web.pages.page import (
    PageRoute,
    Poster,
    form_of,
    keep_session,
    ledger_of,
    render,
)
from quicksilver.web.sessions import LIFETIME, cookie_settings, log_in
from quicksilver.web.throttle import address_of

_log = structlog.get_logger(__name__)

router = APIRouter(route_class=PageRoute, include_in_schema=False)

Next = Annotated[str, Query(max_length=4000)]


@router.get("/login")
async def ask(request: Request, next: Next = "/") -> Response:  # noqa: A002 - the field's name
    """Ask for an operator's token."""
    refuse_foreign_pages(request)
    if await known_session(request) is not None:
        return RedirectResponse(local_path(next), 303)
    return render(request, "login.html", None, next=local_path(next), problem=None, name="")


@router.post("/login")
async def enter(request: Request) -> Response:
    """Open a session for an accepted token."""
    refuse_foreign_pages(request)
    settings: Settings = request.app.state.settings
    form = await form_of(request)
    where = local_path(form.get("next", "/"))
    if not settings.operator_tokens:
        return RedirectResponse(where, 303)
    session = log_in(settings, form.get("token", "").strip(), form.get("name", ""))
    if session is None or session.cookie is None:
        _log.warning("an operator's login was refused", source=address_of(request))
        raise_for_guessing(request)
        return render(
            request,
            "login.html",
            None,
            401,
            next=where,
            problem="This token is not accepted. It is one of QUICKSILVER_OPERATOR_TOKENS.",
            name=form.get("name", ""),
        )
    answer = RedirectResponse(where, 303)
    keep_session(request, answer, session.cookie)
    return answer


@router.post("/logout")
async def leave(request: Request, session: Poster) -> Response:
    """End the browser's session, on every replica."""
    if session.id:
        await ledger_of(request).operators.close_session(session.id, keep=LIFETIME)
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(**cookie_settings(request.app.state.settings, request))
    return answer


def local_path(where: str) -> str:
    """A local path to go on to; anything that could lead elsewhere becomes the first page."""
    parts = urlsplit(where)
    is_plain = where.isprintable() and "\\" not in where
    if parts.scheme or parts.netloc or not where.startswith("/") or not is_plain:
        return "/"
    return "/" if where.startswith("//") else where
