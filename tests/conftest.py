"""Real servers for the tests: each is started when the first test asks for it, on free ports.

Every server lives in a temporary home of its own, and ends with the session. Nothing of the
developer's own environment reaches a test: neither settings, nor `.env`, nor `~/.prefect`.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import signal
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from quicksilver.settings import Settings
from quicksilver.stack import EmbeddedStack
from quicksilver.stack.files import private_folder, write_private
from quicksilver.stack.ports import LOOPBACK, choose_port
from quicksilver.stack.state import Credentials
from quicksilver.support.prefect_http import prefect_auth
from tests.support.budget import Budget
from tests.support.servers import HOMES, MinioServer, Postgres, spare_the_disk

_KEPT = ("TLC_SOURCE",)


def _isolate() -> int:
    """Take the developer's settings away; the port that Prefect's server will have."""
    for field in Settings.model_fields.values():
        if field.alias and field.alias not in _KEPT:
            os.environ.pop(field.alias, None)
    for name in [name for name in os.environ if name.startswith(("PREFECT_", "DBT_", "PG"))]:
        del os.environ[name]
    Settings.model_config["env_file"] = None
    port = choose_port(None)
    # Prefect reads its settings when it is imported, which is before any fixture runs.
    os.environ["PREFECT_HOME"] = str(HOMES / "client")
    os.environ["PREFECT_API_URL"] = f"http://{LOOPBACK}:{port}/api"
    os.environ["PREFECT_API_AUTH_STRING"] = _PREFECT_CREDENTIALS.prefect_auth
    os.environ["PREFECT_SERVER_ALLOW_EPHEMERAL_MODE"] = "false"
    os.environ["DO_NOT_TRACK"] = "1"
    os.environ["DBT_SEND_ANONYMOUS_USAGE_STATS"] = "false"
    # A shell ignores SIGINT for what it runs in the background, and that is inherited.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return port


_PREFECT_CREDENTIALS = Credentials()
_PREFECT_PORT = _isolate()

# `make test` draws the same bounded examples every time; `make fuzz` looks for new ones.
hypothesis_settings.register_profile(
    "default", max_examples=100, deadline=None, derandomize=True, database=None
)
hypothesis_settings.register_profile(
    "fuzz",
    max_examples=5_000,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
hypothesis_settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_configure(config: pytest.Config) -> None:
    """Measure what each file costs."""
    config.pluginmanager.register(Budget(), "budget")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI nothing may be skipped: what did not run was not shown."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if os.environ.get("CI") and skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_unconfigure() -> None:
    """Remove every home; the servers have ended with the session's fixtures."""
    shutil.rmtree(HOMES, ignore_errors=True)


@pytest.fixture(scope="session")
def stack_postgres() -> Iterator[Postgres]:
    """An embedded Postgres for the whole session."""
    with EmbeddedStack(HOMES / "postgres", parts={"postgres"}, ports=None) as stack:
        spare_the_disk(stack.home)
        yield Postgres(stack.home, stack)


_names = itertools.count(1)


@contextmanager
def _fresh_database(server: Postgres, owner: str, template: str) -> Generator[str]:
    name = f"{owner}_{next(_names)}"
    url = server.create_database(name, owner, template)
    try:
        yield url
    finally:
        server.drop_database(name)


@pytest.fixture(scope="session")
def ledger_template(stack_postgres: Postgres) -> str:
    """The name of a database with the ledger's schema, to be copied and never written."""
    from quicksilver.ledger.migrate import migrate

    url = stack_postgres.create_database("ledger_template", "ledger")
    # In a thread of its own: this one's event loop is the tests'.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(migrate(url))).result()
    return "ledger_template"


@pytest.fixture
def ledger_url(stack_postgres: Postgres, ledger_template: str) -> Iterator[str]:
    """A fresh ledger, with its schema and no rows."""
    with _fresh_database(stack_postgres, "ledger", ledger_template) as url:
        yield url


@pytest.fixture
def warehouse_url(stack_postgres: Postgres) -> Iterator[str]:
    """A fresh, empty warehouse."""
    with _fresh_database(stack_postgres, "warehouse", "template1") as url:
        yield url


@pytest.fixture(scope="session")
def minio_server() -> Iterator[MinioServer]:
    """A MinIO server for the whole session; give each test a bucket of its own."""
    with EmbeddedStack(HOMES / "minio", parts={"minio"}, ports=None) as stack:
        own = stack.home.credentials
        yield MinioServer(
            endpoint_url=stack.home.store_url,
            access_key=own.minio_user,
            secret_key=own.minio_password,
            receiver_url=stack.home.service_url,
            fast_token=own.fast_token,
            durable_token=own.durable_token,
            stack=stack,
        )


@pytest.fixture(scope="session")
def prefect_api() -> Iterator[str]:
    """The API URL of a real Prefect server on Postgres, with the process work pool `default`.

    `PREFECT_API_URL` of this process, and of those that it starts, names it already.
    """
    ports = {"postgres": None, "minio": None, "prefect": _PREFECT_PORT, "service": None}
    home = private_folder(HOMES / "prefect")
    # Its password was in this process's environment before Prefect was imported.
    write_private(home / "credentials.json", _PREFECT_CREDENTIALS.model_dump_json())
    with EmbeddedStack(home, parts={"prefect"}, ports=ports) as stack:
        url = stack.home.prefect_url
        assert url == os.environ["PREFECT_API_URL"], "somebody took Prefect's port meanwhile"
        spare_the_disk(stack.home)
        _create_pool(url)
        yield url


def _create_pool(api_url: str) -> None:
    with httpx.Client(
        base_url=api_url, timeout=30, trust_env=False, auth=prefect_auth(os.environ)
    ) as client:
        known: dict[str, Any] = client.get("/collections/views/aggregate-worker-metadata").json()
        body = {
            "name": "default",
            "type": "process",
            "base_job_template": known["prefect"]["process"]["default_base_job_configuration"],
        }
        client.post("/work_pools/", json=body).raise_for_status()
