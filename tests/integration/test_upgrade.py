"""Databases as released versions left them, amid their work: this version finishes it.

The snapshots are made by `python -m tests.upgrade`, one for each release (docs/upgrading.md).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import psycopg
import pyarrow.parquet as pq
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.flow_engine import run_flow

from quicksilver.build.prepare import ensure_warehouse
from quicksilver.domain.datasets import load_datasets
from quicksilver.domain.partition import Partition
from quicksilver.flows.nyc_tlc.generated import generate_month
from quicksilver.flows.silver_build import silver_build
from quicksilver.lake.bronze import Bronze, minio_client
from quicksilver.ledger import Ledger
from quicksilver.ledger.migrate import migrate
from quicksilver.orchestrator.deployments import Deployments
from quicksilver.roles.alignment import Alignment
from quicksilver.roles.dispatcher import Dispatcher
from quicksilver.roles.settler import Settler
from quicksilver.settings import Settings, load_settings
from quicksilver.support import clock
from quicksilver.support.postgres import Database
from quicksilver.warehouse.connection import Warehouse
from tests.support.servers import MinioServer, Postgres
from tests.support.serving import rows
from tests.upgrade import BUCKET, DATASET, FOLDER, ROWS, declared, key_of

VERSIONS = sorted(path.parent.name for path in FOLDER.glob("*/ledger.sql"))
# What bronze holds by now: of month 1 the second content, month 3 was mended since.
MONTHS = {1: 1, 2: 0, 3: 0, 4: 0, 5: 0, 6: 0}
UNFINISHED = {4: "running", 5: "dispatched", 6: None}


@dataclass
class Old:
    """A version's databases and the lake beside them, as this version finds them."""

    settings: Settings

    @property
    def ledger_url(self) -> str:
        return self.settings.database_url.get_secret_value()

    def partitions(self) -> dict[int, dict[str, Any]]:
        found = rows(
            self.ledger_url,
            "select dt, state, error, generation, built_generation from quicksilver.partition",
        )
        return {row["dt"].month: row for row in found}

    def counts(self, month: int) -> tuple[int, int, int]:
        tables = ("bronze.yellow_tripdata", "silver.yellow_trips", "silver.yellow_trips_rejected")
        with psycopg.connect(self.settings.warehouse_url.get_secret_value()) as warehouse:
            found = [
                warehouse.execute(
                    f"select count(*) from {table} where dt = %s",
                    (f"2024-{month:02}-01",),
                ).fetchone()
                for table in tables
            ]
        bronze, silver, rejected = (int(row[0]) for row in found if row)
        return bronze, silver, rejected


@pytest.fixture(params=VERSIONS)
def old(
    request: pytest.FixtureRequest,
    stack_postgres: Postgres,
    minio_server: MinioServer,
    prefect_api: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Old]:
    environment = {
        "MINIO_ENDPOINT_URL": minio_server.endpoint_url,
        "MINIO_ACCESS_KEY": minio_server.access_key,
        "MINIO_SECRET_KEY": minio_server.secret_key,
        "PREFECT_API_URL": prefect_api,
        "QUICKSILVER_DATASETS": str(tmp_path / "datasets.yaml"),
    }
    (tmp_path / "datasets.yaml").write_text(declared())
    for name, role in (("DATABASE", "ledger"), ("WAREHOUSE", "warehouse")):
        url = stack_postgres.create_database(f"upgrade_{role}", role)
        environment[f"QUICKSILVER_{name}_URL"] = url
        text = (FOLDER / request.param / f"{role}.sql").read_text(encoding="utf-8")
        with psycopg.connect(url) as connection:
            connection.execute(text.encode())
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    made = Old(load_settings())
    lake = minio_client(made.settings)
    lake.make_bucket(BUCKET)
    for month, seed in MONTHS.items():
        body = BytesIO()
        pq.write_table(generate_month(2024, month, ROWS, seed), body)
        size = len(body.getvalue())
        body.seek(0)
        lake.put_object(BUCKET, key_of(month), body, size)
    yield made
    clock.reset()
    for month in MONTHS:
        lake.remove_object(BUCKET, key_of(month))
    lake.remove_bucket(BUCKET)
    for role in ("ledger", "warehouse"):
        stack_postgres.drop_database(f"upgrade_{role}")


@pytest.fixture
async def deployments(prefect_api: str) -> AsyncIterator[Deployments]:
    """The present version's deployment, for whose runs no worker is needed."""
    async with get_client() as client:
        flow = await client.create_flow_from_name("silver-build")
        await client.create_deployment(flow, "nyc-tlc", work_pool_name="default")
    made = Deployments(prefect_api)
    await made.open()
    yield made
    await made.close()


async def test_this_version_finishes_what_an_older_one_left(
    old: Old, deployments: Deployments
) -> None:
    before = old.partitions()
    assert {month: row["state"] for month, row in before.items()} == {
        1: "built",
        2: "built",
        3: "failed",
        4: "running",
        5: "running",
        6: "pending",
    }
    kept = "select body, reason from quicksilver.quarantine order by id"
    quarantined = rows(old.ledger_url, kept)
    assert len(quarantined) == 2
    events = "select count(*) as n from quicksilver.event"
    told = rows(old.ledger_url, events)
    silver = {month: old.counts(month) for month in (1, 2)}

    datasets = load_datasets(old.settings.datasets_file)
    await migrate(old.ledger_url)
    assert await migrate(old.ledger_url) == []
    await ensure_warehouse(old.settings, datasets)
    database = Database(old.ledger_url)
    await database.open()
    ledger = Ledger(database, datasets)
    await ledger.upkeep.sync_datasets()
    assert rows(old.ledger_url, kept) == quarantined
    assert rows(old.ledger_url, events) == told
    await _finish(old, ledger, deployments)

    after = old.partitions()
    for month in (1, 2):
        assert after[month]["built_generation"] == before[month]["generation"], "not built again"
        assert old.counts(month) == silver[month]
    assert (after[3]["state"], after[3]["error"]) == ("failed", before[3]["error"])
    for month in UNFINISHED:
        row = after[month]
        assert (row["state"], row["built_generation"]) == ("built", row["generation"]), month
        bronze, good, rejected = old.counts(month)
        assert (bronze, good + rejected) == (ROWS, ROWS)
    ids = rows(old.ledger_url, "select id, state, error from quicksilver.build order by id")
    lost = [row for row in ids if row["state"] == "lost"]
    assert len(lost) == 2, "the run that was killed, and the one that this Prefect never knew"
    assert all(row["error"] for row in lost)

    # What a person starts again after mending it.
    assert await ledger.recording.rebuild([Partition.of_day(DATASET, date(2024, 3, 1))])
    await _finish(old, ledger, deployments)
    assert old.partitions()[3]["state"] == "built"
    assert await ledger.proof.compare()
    await database.close()


async def _finish(old: Old, ledger: Ledger, deployments: Deployments) -> None:
    """Dispatch and settle until nothing is left, running what is dispatched as a worker would."""
    settler = Settler(old.settings, ledger, deployments, Warehouse(old.settings))
    dispatcher = Dispatcher(old.settings, ledger, Bronze(old.settings), deployments, "upgraded")
    await Alignment(ledger, Warehouse(old.settings)).run_once()
    await ledger.upkeep.beat("upgraded")
    # What Prefect ran before it was replaced, nobody here executes.
    ran = {build.flow_run_id for build in await ledger.settlement.active_builds()}
    for _ in range(20):
        await settler.run_once()
        await dispatcher.run_once()
        active = await ledger.settlement.active_builds()
        for build in active:
            if build.state == "dispatched" and build.flow_run_id not in ran:
                ran.add(build.flow_run_id)
                await _run(build.flow_run_id)
        if not active and not rows(
            old.ledger_url,
            "select 1 from quicksilver.partition where state in ('waiting', 'pending', 'running')",
        ):
            return
        # Backoff and grace are over.
        clock.advance(timedelta(seconds=30))
    raise AssertionError(f"still unfinished: {old.partitions()}")


async def _run(run: Any) -> None:
    async with get_client() as client:
        flow_run = await client.read_flow_run(run)
    ended = run_flow(
        silver_build, flow_run=flow_run, parameters=flow_run.parameters, return_type="state"
    )
    await cast("Awaitable[State[Any]]", ended)  # as of every flow that is a coroutine
