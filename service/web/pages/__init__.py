"""The operators' page: which partition is where, and why; rendered here, swapped live."""

from pathlib import Path

from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

from quicksilver.web.pages import (
    actions,
    alerts,
    builds,
    dataset,
    delivery,
    events,
    listing,
    live,
    login,
    overview,
    partition,
    quarantine,
    reference,
)
from quicksilver.web.pages import not_found as strays
from quicksilver.web.pages.headers import SecurityHeaders


def install(app: FastAPI) -> None:
    """Add the pages, their static files, and their security headers."""
    # The actions' routes come before the partition's, whose name may hold slashes.
    for part in (
        *(overview, listing, dataset, actions, alerts, builds, partition, events, quarantine),
        *(delivery, login, live, reference),
    ):
        app.include_router(part.router)
    app.include_router(reference.openapi_router)
    strays.install(app)
    app.mount("/static", StaticFiles(directory=Path(__file__).with_name("static")), "static")
    app.add_middleware(SecurityHeaders)
