"""The service: receiver, dispatcher, settler and sweep in one process, over one ledger."""

import asyncio
import os
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from importlib.metadata import version
from uuid import uuid4

import structlog
from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response

from quicksilver.domain.datasets import Datasets, load_datasets
from quicksilver.errors import (
    UNAVAILABLE,
    DatasetsError,
    DeploymentNotFoundError,
    LedgerUnavailableError,
    PrefectUnavailableError,
)
from quicksilver.intake.group_commit import Recorder
from quicksilver.intake.refusals import Refusals
from quicksilver.lake.bronze import Bronze
from quicksilver.ledger import Ledger
from quicksilver.ledger.listener import LedgerListener
from quicksilver.ledger.migrate import migrate
from quicksilver.orchestrator.deployments import Deployments
from quicksilver.roles.announcer import Announcer
from quicksilver.roles.canary_watch import CanaryWatch
from quicksilver.roles.dispatcher import Dispatcher
from quicksilver.roles.freshness import FreshnessWatch
from quicksilver.roles.gatekeeper import Gatekeeper
from quicksilver.roles.settler import Settler
from quicksilver.roles.sweep import Sweep
from quicksilver.settings import Settings
from quicksilver.support import tracing
from quicksilver.support.backoff import delay
from quicksilver.support.metrics import ROLE_FAILURES
from quicksilver.support.postgres import Database
from quicksilver.warehouse.absent import NoWarehouse
from quicksilver.warehouse.connection import Warehouse
from quicksilver.web import api, health, pages, senders
from quicksilver.web import events as receiver
from quicksilver.web.ledger_metrics import LedgerMetrics

_log = structlog.get_logger(__name__)

VERSION = version("quicksilver")

# Events are pruned in small bites, now and then: nothing waits for it.
_PRUNE_INTERVAL = 600.0


def owner_name() -> str:
    """A name for this process's claims that no other process has."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"


def create_app(settings: Settings) -> FastAPI:
    """The ASGI application; what it needs is opened by `running`."""
    app = FastAPI(
        title="Quicksilver",
        summary="Bronze lands, silver builds.",
        version=VERSION,
        # `web.pages.reference` has both, for operators; the stock page loads from another host.
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    app.state.settings = settings
    app.state.refusals = Refusals()
    app.state.ledger_metrics = LedgerMetrics()
    if "receiver" in settings.roles:
        app.include_router(receiver.router)
        app.include_router(senders.router)
    app.include_router(health.router)
    app.include_router(api.router)
    pages.install(app)
    for passing in UNAVAILABLE:
        app.add_exception_handler(passing, _unavailable)
    return app


async def _unavailable(_request: Request, error: Exception) -> Response:
    """What passes by itself, or with a setting, is 503, with the reason."""
    return JSONResponse({"detail": str(error)}, 503, {"Retry-After": "3"})


@asynccontextmanager
async def running(app: FastAPI) -> AsyncGenerator[None]:
    """Open what the application's roles need, start them, and stop them in reverse.

    Raises:
        SettingsError, DatasetsError: a setting or `datasets.yaml` is wrong; nothing was started.
        LedgerUnavailableError: the ledger's Postgres cannot be reached.
    """
    settings: Settings = app.state.settings
    settings.require("database_url")
    if "receiver" in settings.roles:
        settings.require("webhook_tokens")
    if {"dispatcher", "sweep"} & set(settings.roles):
        # Both list bronze.
        settings.require("minio_access_key", "minio_secret_key")
    datasets = load_datasets(settings.datasets_file)
    url = settings.database_url.get_secret_value()
    await migrate(url)
    async with AsyncExitStack() as stack:
        tracing.start("quicksilver")
        stack.push_async_callback(asyncio.to_thread, tracing.stop)
        database = Database(url)
        await database.open()
        stack.push_async_callback(database.close)
        ledger = Ledger(database, datasets)
        await ledger.upkeep.sync_datasets()
        deployments = Deployments(
            settings.prefect_api_url, settings.prefect_auth_string.get_secret_value()
        )
        await deployments.open()
        stack.push_async_callback(deployments.close)
        await check_deployments(datasets, deployments)
        recorder = Recorder(ledger)
        stack.push_async_callback(recorder.close)
        bronze = Bronze(settings)
        wake = LedgerListener(url)
        sweep_now = asyncio.Event()
        dispatcher = Dispatcher(settings, ledger, bronze, deployments, owner_name())
        has_warehouse = bool(settings.warehouse_url.get_secret_value())
        warehouse = Warehouse(settings) if has_warehouse else NoWarehouse()
        settler = Settler(settings, ledger, deployments, warehouse)
        sweep = Sweep(settings, ledger, bronze)
        app.state.ledger = ledger
        app.state.recorder = recorder
        app.state.deployments = deployments
        app.state.bronze = bronze
        app.state.sweep = sweep
        app.state.sweep_now = sweep_now
        app.state.wake = wake
        roles: dict[str, Callable[[], Awaitable[None]]] = {"wake": wake.run}
        if "dispatcher" in settings.roles:
            roles["dispatcher"] = lambda: dispatcher.run(wake)
            roles["settler"] = lambda: settler.run(wake)
            gatekeeper = Gatekeeper(ledger, deployments)
            announcer = Announcer(settings, ledger, deployments)
            gates_wake, news_wake = wake.subscribe(), wake.subscribe()
            roles["gates"] = lambda: gatekeeper.run(gates_wake)
            roles["announcer"] = lambda: announcer.run(news_wake)
        if "sweep" in settings.roles:
            roles["sweep"] = lambda: sweep.run(sweep_now)
            roles["freshness"] = FreshnessWatch(ledger).run
            roles["prune"] = lambda: prune(ledger, timedelta(days=settings.retention_days))
        if "sweep" in settings.roles and settings.canary_interval:
            roles["canary"] = CanaryWatch(settings, ledger, sweep, sweep_now).run
        if "receiver" in settings.roles:
            refusals: Refusals = app.state.refusals
            roles["refusals"] = lambda: refusals.run(ledger)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(keep_running(name, run)) for name, run in roles.items()]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()


async def keep_running(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """A role that breaks is a bug: it is logged whole, and started again."""
    failures = 0
    while True:
        try:
            await run()
        except LedgerUnavailableError as error:
            ROLE_FAILURES.labels(name).inc()
            failures += 1
            _log.warning("a role waits for the ledger", role=name, error=str(error))
            await asyncio.sleep(delay(failures, base=0.5, cap=10))
        except Exception:
            ROLE_FAILURES.labels(name).inc()
            failures += 1
            _log.exception("a role broke off and is started again", role=name)
            await asyncio.sleep(delay(failures, base=0.5, cap=30))


async def prune(ledger: Ledger, keep: timedelta) -> None:
    """Drop what is older than the retention, a bounded bite at a time."""
    while True:
        while await ledger.upkeep.prune(keep=keep):
            pass
        await asyncio.sleep(_PRUNE_INTERVAL)


async def check_deployments(datasets: Datasets, deployments: Deployments) -> None:
    """Refuse a dataset whose deployment Prefect does not know; Prefect away is no reason to.

    Raises:
        DatasetsError: with the file and the dataset.
    """
    for declared in (*datasets.datasets, *datasets.gates):
        try:
            await deployments.deployment_id(declared.deployment)
        except DeploymentNotFoundError as error:
            line = datasets.line_of(declared.name, "deployment")
            raise DatasetsError(
                f"{datasets.path}:{line}: {declared.name}: deployment: {error}"
            ) from error
        except PrefectUnavailableError as error:
            _log.warning("deployments are not checked: Prefect is away", error=str(error))
            return
