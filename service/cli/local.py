"""The API in the command's own process, over a ledger that it opened."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI

from quicksilver.intake.group_commit import Recorder
from quicksilver.intake.refusals import Refusals
from quicksilver.lake.bronze import Bronze
from quicksilver.ledger import Ledger
from quicksilver.operators.reconciling import Reconciler
from quicksilver.roles.silver_proof import SilverProof
from quicksilver.roles.sweep import Sweep
from quicksilver.settings import Settings
from quicksilver.warehouse.connection import Warehouse
from quicksilver.web import api, partitions, readings
from quicksilver.web.access import require_operator, sees_rows


@asynccontextmanager
async def local_api(
    settings: Settings, ledger: Ledger, actor: str
) -> AsyncGenerator[httpx.ASGITransport]:
    """The same routes as the service's; `actor` is the user for the log of actions.

    A user with the database's password may do everything, so no token is needed. An error meant for
    people is raised as itself, and not turned into an answer.
    """
    app = FastAPI()
    state = app.state
    state.settings, state.ledger, state.bronze = settings, ledger, Bronze(settings)
    state.refusals, state.recorder = Refusals(), Recorder(ledger)
    has_warehouse = bool(settings.warehouse_url.get_secret_value())
    silver = SilverProof(ledger, Warehouse(settings)) if has_warehouse else None
    state.reconciler = Reconciler(settings, Sweep(settings, ledger, state.bronze), silver)
    app.include_router(partitions.router)
    app.include_router(readings.router)
    app.include_router(api.router)
    app.dependency_overrides |= {require_operator: lambda: actor, sees_rows: lambda: True}
    try:
        yield httpx.ASGITransport(app)
    finally:
        await state.reconciler.close()
        await state.recorder.close()
