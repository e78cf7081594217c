"""What the API answers to errors made for people: a status, and their sentence as `detail`."""

from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response

from quicksilver.errors import UNAVAILABLE, NotFoundError, QuicksilverError


def answer_errors(app: FastAPI) -> None:
    """Unknown names are 404, what is away 503, whatever else could not be done 422."""
    app.add_exception_handler(NotFoundError, _not_found)
    app.add_exception_handler(QuicksilverError, _refused)
    for passing in UNAVAILABLE:
        app.add_exception_handler(passing, _unavailable)


async def _not_found(_request: Request, error: Exception) -> Response:
    return JSONResponse({"detail": str(error)}, 404)


async def _refused(_request: Request, error: Exception) -> Response:
    return JSONResponse({"detail": str(error)}, 422)


async def _unavailable(_request: Request, error: Exception) -> Response:
    """What passes by itself, or with a setting, is 503, with the reason."""
    return JSONResponse({"detail": str(error)}, 503, {"Retry-After": "3"})
