"""The service: receiver, dispatcher, settler and sweep in one process, over one ledger."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from importlib.metadata import version
from uuid import uuid4

import structlog
from fastapi import FastAPI
from starlette.datastructures import State
from starlette.middleware.gzip import GZipMiddleware

from quicksilver.domain.datasets import load_datasets
from quicksilver.intake.group_commit import Recorder
from quicksilver.intake.refusals import FLUSH_SECONDS, Refusals
from quicksilver.lake.bronze import Bronze
from quicksilver.ledger import Ledger
from quicksilver.ledger.listener import RECONNECT, LedgerListener
from quicksilver.ledger.migrate import migrate
from quicksilver.operators.reconciling import Reconciler
from quicksilver.orchestrator.deployments import Deployments
from quicksilver.roles import (
    alignment,
    announcer,
    canary_watch,
    deployment_checks,
    freshness,
    gatekeeper,
    notifier,
    pruning,
    silver_proof,
    sweep,
    watchdog,
)
from quicksilver.roles.dispatcher import Dispatcher
from quicksilver.roles.health import HealthWatch
from quicksilver.roles.loop import Job, run_jobs
from quicksilver.roles.settler import Settler
from quicksilver.settings import Settings
from quicksilver.support import tracing
from quicksilver.support.postgres import Database
from quicksilver.warehouse.absent import NoWarehouse
from quicksilver.warehouse.connection import Warehouse
from quicksilver.web import api, health, pages, partitions, readings, senders
from quicksilver.web import events as receiver
from quicksilver.web.ledger_metrics import LedgerMetrics
from quicksilver.web.pages.live import Pulse
from quicksilver.web.refused import answer_errors

_log = structlog.get_logger(__name__)

VERSION = version("quicksilver")

# Seconds between two looks at Postgres' clock: between them the process' own monotonic time counts.
_CLOCK = 30.0


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
    # Until `running` opens it: a receiver by itself may have no credentials to list with.
    app.state.bronze = None
    app.state.ledger_metrics = LedgerMetrics()
    app.state.pulse = Pulse()
    if "receiver" in settings.roles:
        app.include_router(receiver.router)
        app.include_router(senders.router)
    app.include_router(health.router)
    app.include_router(partitions.router)
    app.include_router(readings.router)
    app.include_router(api.router)
    pages.install(app)
    # Pages with hundreds of rows; the receiver answers a few bytes, which are left alone.
    app.add_middleware(GZipMiddleware, minimum_size=2000)
    answer_errors(app)
    return app


@asynccontextmanager
async def running(app: FastAPI) -> AsyncGenerator[None]:
    """Open what the application's roles need, start them, and stop them in reverse.

    A receiver alone needs the ledger and nothing else.

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
        await ledger.upkeep.set_clock()
        await ledger.upkeep.sync_datasets()
        deployments = Deployments(
            settings.prefect_api_url, settings.prefect_auth_string.get_secret_value()
        )
        await deployments.open()
        stack.push_async_callback(deployments.close)
        recorder = Recorder(ledger)
        stack.push_async_callback(recorder.close)
        bronze = Bronze(settings)
        app.state.ledger = ledger
        app.state.recorder = recorder
        app.state.deployments = deployments
        app.state.bronze = bronze
        app.state.sweep = sweep.Sweep(settings, ledger, bronze)
        silver = (
            silver_proof.SilverProof(ledger, Warehouse(settings))
            if settings.warehouse_url.get_secret_value()
            else None
        )
        app.state.reconciler = Reconciler(settings, app.state.sweep, silver)
        stack.push_async_callback(app.state.reconciler.close)
        app.state.health = HealthWatch(settings, ledger)
        app.state.wake = LedgerListener(url)
        if "dispatcher" in settings.roles:
            # What another dispatcher declares, and this one does not, is built by nobody.
            gone = await ledger.upkeep.undeclare_datasets()
            if gone:
                _log.warning("datasets are no longer declared, and are not built", datasets=gone)
            await ledger.waiting.look_again()
        by_role = jobs(app.state)
        started = [job for role in ("", *settings.roles) for job in by_role[role]]
        work = asyncio.create_task(run_jobs(started))
        try:
            yield
        finally:
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work


def jobs(state: State) -> dict[str, list[Job]]:
    """The background jobs of each role in `settings.ROLES`; under "" those of every process."""
    settings: Settings = state.settings
    ledger: Ledger = state.ledger
    deployments: Deployments = state.deployments
    wake: LedgerListener = state.wake
    sweeping: sweep.Sweep = state.sweep
    refusals: Refusals = state.refusals
    has_warehouse = bool(settings.warehouse_url.get_secret_value())
    warehouse = Warehouse(settings) if has_warehouse else NoWarehouse()
    changed = wake.subscribe()
    dispatcher = Dispatcher(settings, ledger, state.bronze, deployments, owner_name(), changed)
    settler = Settler(settings, ledger, deployments, warehouse)
    aligning = alignment.Alignment(ledger, warehouse)
    checks = deployment_checks.DeploymentChecks(ledger, deployments)
    gates = gatekeeper.Gatekeeper(ledger, deployments)
    news = announcer.Announcer(settings, ledger, deployments)
    watch = freshness.FreshnessWatch(ledger)
    canary = canary_watch.CanaryWatch(settings, ledger, sweeping)
    prune = pruning.Pruning(ledger, timedelta(days=settings.retention_days))
    telling = notifier.Notifier(settings, ledger)
    watching = watchdog.Watchdog(settings, ledger, state.health, telling)
    by_role = {
        "": [
            Job("wake", wake.run_once, RECONNECT),
            Job("clock", ledger.upkeep.set_clock, _CLOCK, first=_CLOCK),
        ],
        "receiver": [Job("refusals", lambda: refusals.run_once(ledger), FLUSH_SECONDS)],
        "dispatcher": [
            Job(
                "dispatcher",
                dispatcher.begin_once,
                dispatcher.pause,
                changed,
                at_end=dispatcher.retire,
            ),
            Job("settler", settler.run_once, settler.pause, wake.subscribe()),
            Job("alignment", aligning.run_once, alignment.INTERVAL),
            Job("deployments", checks.run_once, deployment_checks.INTERVAL),
            Job("gates", gates.run_once, gatekeeper.TICK, wake.subscribe()),
            Job("watchdog", watching.run_pass, watchdog.INTERVAL),
            Job("notifier", telling.run_once, telling.pause),
            Job("announcer", news.run_once, announcer.TICK, wake.subscribe()),
        ],
        "sweep": [
            Job("sweep", sweeping.run_due, sweeping.pause, sweeping.changed),
            Job("fresh", sweeping.look_again, sweep.SETTLED.total_seconds()),
            Job("deletions", sweeping.look_for_deletions, sweep.DELETIONS),
            Job("freshness", watch.run_once, freshness.INTERVAL),
            Job("prune", prune.run_once, pruning.INTERVAL),
        ],
    }
    if isinstance(warehouse, Warehouse):
        proof = silver_proof.SilverProof(ledger, warehouse)
        by_role["dispatcher"].append(Job("silver", proof.run_once, silver_proof.INTERVAL))
    if settings.heartbeat_url.get_secret_value():
        by_role["dispatcher"].append(
            Job("heartbeat", lambda: notifier.ping(settings, ledger), notifier.PING_EVERY)
        )
    if settings.canary_interval:
        first = min(canary_watch.FIRST, settings.canary_interval)
        by_role["sweep"].append(Job("canary", canary.run_once, canary.pause, first=first))
    return by_role
