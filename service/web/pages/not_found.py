"""Answers unknown addresses: people get a page with links, programs get JSON."""

from fastapi import FastAPI, Request
from fastapi.exception_handlers import http_exception_handler
from starlette.exceptions import HTTPException
from starlette.responses import Response

from quicksilver.web.access import refuse_foreign_pages
from quicksilver.web.pages.page import error_page

# Only programs use these paths, whatever their Accept header says.
_PROGRAMS = ("/api/", "/events/", "/static/")


def install(app: FastAPI) -> None:
    """Answer what no route does, and what a route outside the pages refuses."""
    app.add_exception_handler(HTTPException, _refused)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
    is_person = "text/html" in request.headers.get("accept", "")
    if not is_person or request.url.path.startswith(_PROGRAMS):
        return await http_exception_handler(request, error)
    try:
        refuse_foreign_pages(request)
    except HTTPException as refusal:
        error = refusal
    text = str(error.detail)
    if error.status_code == 404 and text == "Not Found":
        text = f"There is no page {request.url.path}."
    elif error.status_code == 405:
        text = f"{request.url.path} is not opened that way."
    answer = error_page(request, error.status_code, text)
    answer.headers.update(error.headers or {})
    return answer
