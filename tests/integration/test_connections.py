"""Connections to Postgres are counted and bounded, and `doctor` says when they are too many."""

from __future__ import annotations

import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from quicksilver.flows.context import FlowContext
from quicksilver.flows.leases import build_leases
from quicksilver.flows.nyc_tlc.generated import generate_month
from quicksilver.operators.doctor import Probe, connections
from quicksilver.operators.doctor.check import BrokenError
from quicksilver.settings import Settings, load_settings
from quicksilver.support.postgres import Database
from tests.support.ledger_harness import LedgerHarness
from tests.support.partition_stage import make_stage
from tests.support.payloads import notification, record
from tests.support.pooler import pooling
from tests.support.servers import MinioServer, Postgres
from tests.support.serving import serving
from tests.support.waiting import until

JANUARY = date(2019, 1, 1)


@contextmanager
def watching(postgres: Postgres, database: str) -> Generator[list[int]]:
    """How many sessions a database had, looked at again and again while the block runs."""
    seen: list[int] = []
    is_over = threading.Event()

    def look() -> None:
        with psycopg.connect(postgres.admin_url, autocommit=True) as admin:
            while not is_over.wait(0.002):
                row = admin.execute(
                    "select count(*) from pg_stat_activity where datname = %s"
                    " and backend_type = 'client backend'",
                    (database,),
                ).fetchone()
                seen.append(row[0] if row else 0)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        until(lambda: seen, "the first look")
        yield seen
    finally:
        is_over.set()
        thread.join()


async def test_a_build_has_no_more_connections_than_is_said(
    ledger_url: str, warehouse_url: str, minio_server: MinioServer, stack_postgres: Postgres
) -> None:
    stage = make_stage(warehouse_url, minio_server)
    listed = stage.put(generate_month(2019, 1, 3000, seed=1), JANUARY)
    # What is made once is none of a build's.
    await stage.build(JANUARY, listed)
    with watching(stack_postgres, warehouse_url.rpartition("/")[2]) as in_warehouse:
        await stage.build(JANUARY, listed)
    assert 2 <= max(in_warehouse) <= connections.BUILD_WAREHOUSE

    kit = await LedgerHarness.open(ledger_url, database_url=ledger_url)
    await kit.put("a")
    await kit.dispatcher().run_once()
    (flow,) = kit.take_runs()
    builds = await kit.ledger.runs.begin(flow.key, flow.id, time_limit=kit.time_limit)
    await kit.close()
    database = Database(ledger_url, size=2, application="quicksilver-flow")
    await database.open()
    with watching(stack_postgres, ledger_url.rpartition("/")[2]) as in_ledger:
        async with (
            build_leases(FlowContext(kit.settings, kit.ledger, kit.bronze), builds),
            database.transaction(),
            database.transaction(),
        ):
            until(lambda: max(in_ledger[-5:]) == connections.BUILD_LEDGER, "all of a run's")
    await database.close()


def test_a_service_has_no_more_connections_than_is_said(
    ledger_url: str, stack_postgres: Postgres
) -> None:
    with (
        serving(ledger_url) as served,
        watching(stack_postgres, ledger_url.rpartition("/")[2]) as seen,
        ThreadPoolExecutor(40) as many,
    ):
        bodies = [
            notification(record(f"bronze/nyc_tlc/yellow_tripdata/dt%3D2024-01-01/{n}.parquet"))
            for n in range(120)
        ]
        work: list[Any] = [many.submit(served.client.post, body) for body in bodies]
        work += [many.submit(served.client.operate, "GET", "/api/partitions") for _ in bodies]
        assert {done.result().status for done in work} == {200}
    assert 3 <= max(seen) <= connections.SERVICE_LEDGER


@pytest.fixture
def settings(ledger_url: str, warehouse_url: str) -> Settings:
    return load_settings(database_url=ledger_url, warehouse_url=warehouse_url)


async def test_doctor_counts_them(settings: Settings) -> None:
    builds, per_build = settings.max_running, connections.BUILD_LEDGER + connections.BUILD_WAREHOUSE
    needed = connections.SERVICE_LEDGER + connections.SERVICE_WAREHOUSE + builds * per_build
    assert f"at most {needed} of " in await connections.check_connections(Probe(settings))
    many = settings.model_copy(update={"max_running": 48})
    with pytest.raises(BrokenError, match="48 builds at once and one service may take") as broken:
        await connections.check_connections(Probe(many))
    assert "raise Postgres' max_connections by" in broken.value.fix
    lower = int(broken.value.fix.rpartition(" ")[2])
    fits = settings.model_copy(update={"max_running": lower})
    assert await connections.check_connections(Probe(fits))


@pytest.mark.parametrize("setting", ["QUICKSILVER_DATABASE_URL", "QUICKSILVER_WAREHOUSE_URL"])
async def test_doctor_says_which_setting_leads_to_a_pooler(
    settings: Settings, setting: str
) -> None:
    field = setting.removeprefix("QUICKSILVER_").lower()
    async with pooling(getattr(settings, field).get_secret_value()) as pooled:
        # It works, for those who only ask.
        async with await psycopg.AsyncConnection.connect(pooled, autocommit=True) as connection:
            await connection.execute("select 1")
        changed = settings.model_copy(update={field: SecretStr(pooled)})
        with pytest.raises(BrokenError, match="gives each transaction another session") as broken:
            await connections.check_connections(Probe(changed))
    assert f"name Postgres itself in {setting}, or a pool with pool_mode = session" in (
        broken.value.fix
    )
