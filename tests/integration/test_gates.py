"""Gates from the last build of a set to a flow run, on a real ledger and a real Prefect server."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import FlowRun

from quicksilver.domain.datasets import load_datasets
from quicksilver.domain.partition import Partition
from quicksilver.ledger import Ledger
from quicksilver.ledger.listener import LedgerListener
from quicksilver.orchestrator.deployments import Deployments
from quicksilver.roles.gatekeeper import Gatekeeper
from quicksilver.roles.loop import Job, run_jobs
from quicksilver.support.postgres import Database
from tests.integration.test_news import build, land
from tests.support.checkout import PROJECT

_GATES = """
datasets:
  shop.orders:
    bucket: lake
    key: shop/orders/dt={dt}/{file}
    deployment: silver-build/nyc-tlc
gates:
  year:
    datasets: [shop.orders]
    each: year
    deployment: gates-test/NAME
  lost:
    datasets: [shop.orders]
    each: dt
    deployment: gates-test/nobody-deployed-this
"""

MONTHS = [f"2024-{month:02d}-01" for month in range(1, 13)]


@pytest.fixture
async def deployment(prefect_api: str) -> AsyncIterator[tuple[str, UUID]]:
    """A deployment that no worker takes up: its runs stay, to be counted."""
    name = f"x{uuid4().hex[:8]}"
    async with get_client() as client:
        flow = await client.create_flow_from_name("gates-test")
        yield name, await client.create_deployment(flow, name)


async def runs_of(deployment: UUID) -> list[FlowRun]:
    async with get_client() as client:
        return await client.read_flow_runs(
            deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment]))
        )


async def test_a_set_fires_its_deployment_once_and_once_more_after_a_rebuild(
    deployment: tuple[str, UUID], prefect_api: str, ledger_url: str, tmp_path: Path
) -> None:
    name, deployed = deployment
    path = tmp_path / "datasets.yaml"
    path.write_text(_GATES.replace("NAME", name))
    database = Database(ledger_url, size=4)
    await database.open()
    ledger = Ledger(database, load_datasets(path))
    await ledger.upkeep.sync_datasets()
    deployments = Deployments(prefect_api)
    await deployments.open()
    wake = LedgerListener(ledger_url)
    # Two replicas, each woken by the ledger as in the service.
    keepers = [Gatekeeper(ledger, deployments) for _ in range(2)]
    jobs = [Job("gates", keeper.run_once, 30.0, wake.subscribe()) for keeper in keepers]
    tasks = [asyncio.create_task(run_jobs([Job("wake", wake.run_once, 0.2), *jobs]))]
    try:
        for dt in MONTHS[:11]:
            await land(ledger, "shop.orders", dt, "a")
            await build(ledger, "a")
        shown = await asyncio.to_thread(status, ledger_url, path)
        (year,) = [row for row in shown["gates"] if row["gate"] == "year"]
        assert (year["set"], year["state"], year["fired_at"]) == ("2024", "waiting", None)
        assert year["missing"] == [
            {"dataset": "shop.orders", "partition": "2024-12-01", "state": "nothing landed"}
        ]
        assert await runs_of(deployed) == []

        await land(ledger, "shop.orders", MONTHS[11], "a")
        await build(ledger, "a")
        (run,) = await fired(ledger, deployed, 12)
        assert run.parameters == {"year": 2024}
        assert (run.idempotency_key or "").partition("@")[0] == "gate/year/2024:12"
        assert "gate:year" in run.tags

        await ledger.recording.rebuild([Partition.of_day("shop.orders", date(2024, 5, 1))])
        await build(ledger, "a")
        runs = await fired(ledger, deployed, 13)
        assert sorted((run.idempotency_key or "").partition("@")[0] for run in runs) == [
            "gate/year/2024:12",
            "gate/year/2024:13",
        ]
        # The other gate, whose deployment is nowhere, held nothing up and says what to do.
        (alert,) = await ledger.notices.alerts()
        assert (alert["kind"], alert["subject"]) == ("gate", "lost")
        assert "quicksilver init" in alert["text"]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await deployments.close()
        await database.close()


async def fired(ledger: Ledger, deployed: UUID, generation: int) -> list[FlowRun]:
    """The deployment's runs, once the ledger says that the set's generation fired."""
    async with asyncio.timeout(30):
        while True:
            rows = [row for row in await ledger.gates.runs() if row["gate"] == "year"]
            if rows and rows[0]["generation"] == generation:
                return await runs_of(deployed)
            await asyncio.sleep(0.05)


def status(ledger_url: str, datasets: Path) -> dict[str, list[dict[str, object]]]:
    """What the command line says, as JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "quicksilver.cli.main", "status", "--json"],
        env={
            **os.environ,
            "QUICKSILVER_DATABASE_URL": ledger_url,
            "QUICKSILVER_DATASETS": str(datasets),
        },
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    answer: dict[str, list[dict[str, object]]] = json.loads(done.stdout)
    return answer
