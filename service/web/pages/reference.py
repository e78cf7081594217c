"""`/docs`: the API's reference, rendered from its own OpenAPI schema, which is at `/openapi.json`.

FastAPI's stock page loads its parts from another host and needs inline scripts; this one works
offline, under the pages' own policy, without JavaScript, in the dark and with a keyboard.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request
from starlette.responses import Response

from quicksilver.web.access import require_operator
from quicksilver.web.pages.page import PageRoute, Viewer, render

router = APIRouter(route_class=PageRoute, include_in_schema=False)
# For programs: its refusals are not pages.
openapi_router = APIRouter(include_in_schema=False)

_INTRODUCTIONS = {
    "operators": "With an operator's token as Authorization: Bearer, or a browser's session."
    " The same words and numbers as the pages and the command line.",
    "events": "For MinIO and other senders, with a webhook token. 2xx comes after the commit that"
    " makes the event durable.",
    "health": "For load balancers and supervisors, without a token.",
}

# FastAPI's default text for what has no description.
_PLAIN = {"Successful Response": "Done", "Validation Error": "A parameter is not as it must be"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: where it stands (`path`, `query`), and what it takes, in words."""

    name: str
    where: str
    takes: str
    is_required: bool


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path; `answers` are status codes with their meaning."""

    id: str
    method: str
    path: str
    summary: str
    text: str
    parameters: Sequence[Parameter]
    answers: Sequence[tuple[str, str]]


@router.get("/docs")
async def reference(request: Request, session: Viewer) -> Response:
    """Every operation of the API."""
    app: FastAPI = request.app
    settings = app.state.settings
    return render(
        request,
        "reference.html",
        session,
        groups=operations(app.openapi()),
        introductions=_INTRODUCTIONS,
        url=settings.url,
        version=app.version,
    )


@openapi_router.get("/openapi.json", dependencies=[Depends(require_operator)])
async def openapi(request: Request) -> dict[str, Any]:
    """The API's OpenAPI schema."""
    app: FastAPI = request.app
    return app.openapi()


def operations(schema: Mapping[str, Any]) -> dict[str, list[Operation]]:
    """The operations of an OpenAPI schema by their tag, operators' first. Pure."""
    groups: dict[str, list[Operation]] = {"operators": []}
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            tag = (operation.get("tags") or ["other"])[0]
            groups.setdefault(tag, []).append(_operation(path, method, operation))
    return groups


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> Operation:
    summary, text = operation.get("summary", ""), operation.get("description", "")
    if " " not in summary:
        # FastAPI's own, made from the function's name.
        summary, text = text, ""
    return Operation(
        id=operation["operationId"],
        method=method.upper(),
        path=path,
        summary=summary,
        text=text,
        parameters=[
            Parameter(p["name"], p["in"], _takes(p), p.get("required", False))
            for p in operation.get("parameters", ())
        ],
        answers=sorted(
            (code, _PLAIN.get(said := str(answer["description"]), said))
            for code, answer in operation["responses"].items()
        ),
    )


def _takes(parameter: Mapping[str, Any]) -> str:
    schema = parameter["schema"]
    one = next((s for s in schema.get("anyOf", ()) if s.get("type") != "null"), schema)
    words = ", ".join(one["enum"]) if "enum" in one else one.get("format") or one.get("type", "")
    if one.get("maximum", 10**9) < 10**9:
        words += f" from {one.get('minimum', 0)} to {one['maximum']}"
    if "default" in schema:
        words += f"; {schema['default']} if not given"
    said = parameter.get("description")
    return f"{words}: {said}" if said else words
