"""The API's answers to errors meant for people: a status, and their sentence as `detail`."""

from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response

from quicksilver.errors import UNAVAILABLE, NotFoundError, QuicksilverError

Answers = dict[int | str, dict[str, Any]]

# Answers that every operation may give besides its own.
REFUSALS: Answers = {
    401: {"description": "No operator's token, or an unknown one"},
    403: {
        "description": "A token that may only read, a browser's session without X-CSRF-Token, or"
        " another site's page"
    },
    409: {"description": "It cannot be done as things are; the reason says why"},
    429: {"description": "Too many wrong tokens from this address: wait as Retry-After says"},
    503: {"description": "Ledger or bronze is away, nothing was changed: try again"},
}
NO_PARTITION: Answers = {404: {"description": "Nothing of the partition ever landed"}}
NO_ROW: Answers = {404: {"description": "Quarantine holds no such row"}}
NO_ALERT: Answers = {404: {"description": "No such alert is open"}}
NO_DATASET: Answers = {404: {"description": "The dataset is not declared in datasets.yaml"}}


def answer_errors(app: FastAPI) -> None:
    """Unknown names are 404, what is away 503, whatever else could not be done 409."""
    app.add_exception_handler(NotFoundError, _not_found)
    app.add_exception_handler(QuicksilverError, _refused)
    for passing in UNAVAILABLE:
        app.add_exception_handler(passing, _unavailable)


async def _not_found(_request: Request, error: Exception) -> Response:
    return JSONResponse({"detail": str(error)}, 404)


async def _refused(request: Request, error: Exception) -> Response:
    if not request.url.path.startswith("/api/"):
        # Other routes do not answer it: it is a bug of the service, logged with its traceback.
        raise error
    return JSONResponse({"detail": str(error)}, 409)


async def _unavailable(_request: Request, error: Exception) -> Response:
    """Temporary or configuration trouble is 503, with the reason."""
    return JSONResponse({"detail": str(error)}, 503, {"Retry-After": "3"})
