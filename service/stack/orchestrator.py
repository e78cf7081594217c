"""Prefect's server, the warm engine, a process worker and Quicksilver's service as programs."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from quicksilver.engine import protocol
from quicksilver.engine.client import lean_client_environment
from quicksilver.stack.files import private_folder
from quicksilver.stack.home import Home
from quicksilver.stack.minio import answers
from quicksilver.stack.ports import LOOPBACK
from quicksilver.stack.program import Program
from quicksilver.support.http import local_http_client
from quicksilver.support.prefect_http import PrefectAuth
from quicksilver.support.project import project_folder

POOL = "default"

# Prefect keeps ended flow runs and their logs for ever unless it is told: here as long as the
# ledger keeps events, 30 days in seconds, or as the environment says.
_KEPT = {
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": "2592000",
}

# Prefect looks through its database every five seconds for what a lake seldom has or does not use:
# pauses that expire, new schedules, leases of cleanup messages and of concurrency limits, workers
# that went offline, tasks of cancelled runs. Once a minute does. Late runs keep their five seconds,
# since doctor and page speak of them.
_LOOPS = {
    f"PREFECT_SERVER_SERVICES_{service}_LOOP_SECONDS": "60"
    for service in (
        "PAUSE_EXPIRATIONS",
        "SCHEDULER_RECENT_DEPLOYMENTS",
        "CLEANUP_RECONCILER",
        "CANCELLATION_CLEANUP",
        "REPOSSESSOR",
        "FOREMAN",
    )
}


def prefect_program(home: Home) -> Program:
    """Prefect's server, with its services, on the embedded Postgres."""
    folder = private_folder(home.folder / "prefect")
    database = home.database_url("prefect").removeprefix("postgresql://")
    return Program(
        name="prefect",
        command=(
            *(sys.executable, "-m", "prefect", "server", "start"),
            *("--host", LOOPBACK, "--port", str(home.port("prefect"))),
        ),
        env={
            **home.base_environment(),
            **{name: os.environ.get(name, value) for name, value in _KEPT.items()},
            "PREFECT_HOME": str(folder),
            "PREFECT_API_URL": home.prefect_url,
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://{database}",
            # A client that may start runs can run commands as this user: other users of this host
            # and web pages in a browser must not have access.
            "PREFECT_SERVER_API_AUTH_STRING": home.credentials.prefect_auth,
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": home.prefect_url.removesuffix("/api"),
            "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
            # Not into the installed package, which may belong to another user.
            "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(folder / "ui"),
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
            **_LOOPS,
        },
        cwd=folder,
        ready=lambda: answers(f"{home.prefect_url}/ready"),
        port=home.port("prefect"),
        start_within=180,
        stop_within=4,
    )


def _runs_environment(home: Home) -> dict[str, str]:
    """One environment for all clients of Prefect, so that runs need not read settings again."""
    lean: dict[str, str] = {}
    if home.beside is None:
        lean = lean_client_environment(home.prefect_url, private_folder(home.folder / "prefect"))
    return {**home.child_environment(), **lean}


def engine_program(home: Home) -> Program:
    """The warm engine that flow runs are forked from; runs start without it too, only slower."""
    environment = _runs_environment(home)
    socket = protocol.socket_path(environment)
    return Program(
        name="engine",
        command=(sys.executable, "-m", "quicksilver.engine.server"),
        env=environment,
        cwd=project_folder(),
        ready=lambda: protocol.ping(socket, timeout=1.0),
        start_within=30,
        stop_within=2,
        optional=True,
    )


def worker_program(home: Home, limit: int) -> Program:
    """A worker of the pool `default` that runs at most `limit` flow runs at once."""
    name = "quicksilver"
    began = datetime.now(UTC)
    return Program(
        name="worker",
        command=(
            *(sys.executable, "-m", "quicksilver.worker", "--name", name),
            *("--pool", POOL, "--limit", str(limit)),
        ),
        env=_runs_environment(home),
        cwd=project_folder(),
        ready=lambda: _polls(home, name, began),
        # Its flow runs get the same signal, and report themselves as crashed.
        stop_within=6,
    )


def _polls(home: Home, name: str, since: datetime) -> bool:
    try:
        answer = local_http_client().post(
            f"{home.prefect_url}/work_pools/{POOL}/workers/filter",
            json={},
            timeout=2,
            auth=PrefectAuth(home.prefect_url, home.credentials.prefect_auth),
        )
        workers: list[dict[str, Any]] = answer.json() if answer.is_success else []
    except (httpx.HTTPError, ValueError):
        return False
    return any(
        worker["name"] == name and datetime.fromisoformat(worker["last_heartbeat_time"]) >= since
        for worker in workers
    )


def service_program(home: Home) -> Program:
    """Quicksilver's service: receiver, dispatcher and sweep."""
    return Program(
        name="service",
        command=(str(Path(sys.executable).with_name("quicksilver")), "serve"),
        # Its clients of Prefect are as cheap as a run's: it makes one every few seconds.
        env=_runs_environment(home),
        cwd=project_folder(),
        ready=lambda: answers(f"{home.service_url}/healthz"),
        port=home.port("service"),
        stop_within=4,
    )
