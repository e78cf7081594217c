"""A question before an action: a page of its own without the script, a dialog with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from starlette.responses import Response

from quicksilver.operators.actions import Actions
from quicksilver.web.pages.page import Actor, ledger_of, render
from quicksilver.web.sessions import Session


def _actions(request: Request, actor: Actor) -> Actions:
    return Actions(ledger_of(request), actor)


# The actions that a posted form's session allows.
Acting = Annotated[Actions, Depends(_actions)]


@dataclass(frozen=True, slots=True)
class Field:
    """A form field: a line of text, one of `choices` (value and label), or a date."""

    name: str
    label: str
    choices: Sequence[tuple[str, str]] = ()
    is_required: bool = False
    kind: str = "text"
    value: str = ""


def ask(
    request: Request,
    session: Session,
    title: str,
    text: str,
    button: str,
    back: str,
    *,
    fields: Sequence[Field] = (),
    is_grave: bool = False,
    action: str = "",
) -> Response:
    """The page that asks; its form is posted to `action`, or to its own address."""
    return render(
        request,
        "confirm.html",
        session,
        title=title,
        text=text,
        button=button,
        back=back,
        fields=fields,
        is_grave=is_grave,
        action=action or request.url.path,
    )
