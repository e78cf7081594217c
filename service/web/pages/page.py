"""What every page shares: its session, rendering, and error pages."""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, cast
from urllib.parse import parse_qs, quote, urlencode

from fastapi import Depends, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from itsdangerous import BadSignature, URLSafeSerializer
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse, RedirectResponse, Response

from quicksilver.domain.health import HealthView
from quicksilver.domain.states import PartitionState
from quicksilver.errors import UNAVAILABLE, NotFoundError, QuicksilverError
from quicksilver.ledger import Ledger
from quicksilver.settings import Settings
from quicksilver.support import clock
from quicksilver.support.text import escape_control_characters
from quicksilver.web.access import known_session, refuse_foreign_pages, refuse_viewers
from quicksilver.web.body import BodyTooLargeError, read_body
from quicksilver.web.pages import formats
from quicksilver.web.sessions import CSRF_FIELD, LIFETIME, Session, cookie_settings, session_of

STATES = tuple(PartitionState)

NOTICE = "quicksilver_notice"

# The login form has a token and a name; a session's form, at most ten thousand partition names.
_FORM_LIMIT = 16 * 1024
_LONG_FORM_LIMIT = 2 * 1024 * 1024

_TITLES = {
    400: "That was not understood",
    401: "Log in first",
    403: "Refused",
    404: "Not here",
    405: "Not that way",
    422: "That was not understood",
    429: "Too often",
    503: "Away for the moment",
}

# What to do next, where the reason itself does not say.
_NEXT = {
    401: "Send an accepted one as Authorization: Bearer, or none, and log in at /login.",
    404: "Look in the overview, or ask Explain what became of an object.",
    405: "Go back, and use the page's own buttons.",
    422: "Correct the address, or go back and correct the form.",
    429: "Wait a minute, then try again.",
    503: "Nothing was changed. Reload in a moment; `quicksilver doctor` names the link that broke.",
}


class LoginNeededError(Exception):
    """There is no valid session."""


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("span", "age", "moment", "number", "size"):
        environment.filters[name] = getattr(formats, name)
    environment.filters["visible"] = escape_control_characters
    own = cast("dict[str, Any]", environment.globals)
    own.update(share=formats.share, partition_url=partition_url, now=clock.now)
    return environment


def partition_url(dataset: str, partition: object, action: str = "") -> str:
    """The page of a partition, or of an action on it."""
    return f"/partitions/{quote(dataset, safe='')}/{quote(str(partition), safe='/=')}" + (
        f"/{action}" if action else ""
    )


_templates = _environment()


async def viewer(request: Request) -> Session:
    """The session of a page's reader: from the operators' token in the header, or from the cookie.

    Raises:
        LoginNeededError: there is no valid session.
        HTTPException: 401 for a wrong token, 403 for another site's page.
    """
    refuse_foreign_pages(request)
    session = await known_session(request)
    if session is None:
        raise LoginNeededError
    return session


Viewer = Annotated[Session, Depends(viewer)]


async def form_of(request: Request, limit: int = _FORM_LIMIT) -> dict[str, str]:
    """The fields of a posted form, the last of each name.

    Raises:
        HTTPException: 400, it is not one of our forms.
    """
    try:
        body = await read_body(request, limit)
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=10)
    except (BodyTooLargeError, TimeoutError, ValueError) as error:
        raise HTTPException(400, "this is not a form of these pages") from error
    return {name: values[-1] for name, values in fields.items()}


async def poster(request: Request, session: Viewer) -> Session:
    """The session behind a posted form; `request.state.form` has its fields.

    Raises:
        HTTPException: 403, the form does not carry the session's token.
    """
    form = await form_of(request, _LONG_FORM_LIMIT)
    if not session.accepts(form.get(CSRF_FIELD)):
        raise HTTPException(403, "the form was too old, or not ours: go back, reload, try again")
    request.state.form = form
    return session


Poster = Annotated[Session, Depends(poster)]


async def actor(session: Poster) -> str:
    """Who acts through a posted form, for the log of actions.

    Raises:
        HTTPException: 403, the session may only read.
    """
    refuse_viewers(session)
    return session.actor


Actor = Annotated[str, Depends(actor)]


def ledger_of(request: Request) -> Ledger:
    """The application's ledger."""
    return request.app.state.ledger


def health_of(request: Request) -> HealthView:
    """What is known of every part."""
    return request.app.state.health


def render(
    request: Request,
    template: str,
    session: Session | None,
    /,
    status: int = 200,
    **context: Any,
) -> HTMLResponse:
    """A page. In it stand `session`, what a redirect left as `notice`, and `here`, its path."""
    settings: Settings = request.app.state.settings
    notice = _notice(request, session)
    html = _templates.get_template(template).render(
        session=session,
        may_act=session is not None and session.role == "operator",
        needs_login=bool(settings.operator_tokens),
        notice=notice,
        here=request.url.path,
        health=health_of(request).glance(),
        csrf_field=CSRF_FIELD,
        **context,
    )
    answer = HTMLResponse(html, status)
    if session is not None and session.cookie is not None:
        keep_session(request, answer, session.cookie)
    if notice is not None:
        answer.delete_cookie(**cookie_settings(settings, request, NOTICE))
    return answer


def keep_session(request: Request, answer: Response, cookie: str) -> None:
    """Set the session's cookie."""
    answer.set_cookie(
        value=cookie,
        max_age=int(LIFETIME.total_seconds()),
        **cookie_settings(request.app.state.settings, request),
    )


def go_to(request: Request, path: str, session: Session | None, notice: str) -> RedirectResponse:
    """Redirect to another page after an action; that page shows what was done."""
    answer = RedirectResponse(path, 303)
    if session is not None:
        answer.set_cookie(
            value=str(URLSafeSerializer(session.csrf, NOTICE).dumps(notice)),
            max_age=60,
            **cookie_settings(request.app.state.settings, request, NOTICE),
        )
    return answer


def _notice(request: Request, session: Session | None) -> str | None:
    # A refresh in the background must not remove a notice that the reader has not seen.
    if session is None or "x-live" in request.headers or NOTICE not in request.cookies:
        return None
    try:
        return str(URLSafeSerializer(session.csrf, NOTICE).loads(request.cookies[NOTICE]))
    except BadSignature:
        return None


class PageRoute(APIRoute):
    """A route whose errors are pages, and which sends users without a session to the login."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        if self.methods and "GET" in self.methods:
            # The server leaves the body out. FastAPI does not do it by itself, Starlette does.
            self.methods = {*self.methods, "HEAD"}

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's handler, with its errors shown."""
        handle = super().get_route_handler()

        async def shown(request: Request) -> Response:
            try:
                return await handle(request)
            except LoginNeededError:
                where = request.url.path + (f"?{request.url.query}" if request.url.query else "")
                return RedirectResponse("/login?" + urlencode({"next": where}), 303)
            except HTTPException as error:
                answer = error_page(request, error.status_code, str(error.detail))
                answer.headers.update(error.headers or {})
                return answer
            except RequestValidationError as error:
                first = error.errors()[0]
                return error_page(request, 422, f"{first['loc'][-1]}: {first['msg']}")
            except NotFoundError as error:
                return error_page(request, 404, str(error))
            except UNAVAILABLE as error:
                return error_page(request, 503, str(error))
            except QuicksilverError as error:
                return error_page(request, 422, str(error))

        return shown


def error_page(request: Request, status: int, text: str) -> Response:
    """What went wrong, to a person."""
    session = session_of(request.app.state.settings, request)
    title = _TITLES.get(status, "That did not work")
    return render(
        request, "error.html", session, status, title=title, text=text, advice=_NEXT.get(status)
    )
