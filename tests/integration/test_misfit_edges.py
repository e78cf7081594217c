"""Where trouble could spread from one part to the next: each on the real parts that it needs."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import psutil
import pytest
from minio.commonconfig import ENABLED
from minio.versioningconfig import VersioningConfig

from quicksilver.build.result import BuildResult
from quicksilver.domain.datasets import Datasets
from quicksilver.domain.event import ObjectEvent
from quicksilver.errors import LedgerUnavailableError
from quicksilver.flows.context import FlowContext
from quicksilver.flows.leases import build_leases, mark_published
from quicksilver.flows.nyc_tlc.generated import generate_month
from quicksilver.lake.bronze import Bronze, list_partition
from quicksilver.ledger import Ledger, SealedBuild
from quicksilver.ledger.migrate import migrate
from quicksilver.settings import load_settings
from quicksilver.stack import EmbeddedStack
from quicksilver.stack.ports import LOOPBACK, choose_port
from quicksilver.support import clock
from quicksilver.support.postgres import Database
from tests.support.declared import arrive
from tests.support.ledger_harness import FlowRun, LedgerHarness, dataset
from tests.support.partition_stage import PartitionStage, make_stage
from tests.support.payloads import notification, record
from tests.support.servers import HOMES, MinioServer
from tests.support.serving import FAST_TOKEN, Client, rows
from tests.support.waiting import until

JANUARY = date(2019, 1, 1)


@pytest.fixture(autouse=True)
def _own_clock() -> Iterator[None]:
    yield
    clock.reset()


@pytest.fixture
def lonely_receiver(ledger_url: str, tmp_path: Path) -> Iterator[Client]:
    """`quicksilver serve` as a receiver, which was told of the ledger and of nothing else."""
    port = choose_port(None)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "QUICKSILVER_ROLES": "receiver",
        "QUICKSILVER_PORT": str(port),
        "QUICKSILVER_DATABASE_URL": ledger_url,
        "QUICKSILVER_WEBHOOK_TOKENS": FAST_TOKEN,
        # Nobody listens at either, and the lake was given no credentials.
        "PREFECT_API_URL": f"http://{LOOPBACK}:{choose_port(None)}/api",
        "MINIO_ENDPOINT_URL": f"http://{LOOPBACK}:{choose_port(None)}",
    }
    (tmp_path / "datasets.yaml").write_text(
        "datasets:\n"
        "  shop.orders:\n"
        "    bucket: datasets\n"
        "    key: orders/dt={dt}/{file}\n"
        "    deployment: nobody/knows-it\n"
    )
    command = [sys.executable, "-m", "quicksilver.cli.main", "serve"]
    with (tmp_path / "log").open("wb") as log:
        service = subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=log, stderr=log)
        try:
            client = Client(port)

            def answers() -> bool:
                assert service.poll() is None, (tmp_path / "log").read_text()
                return client.request("GET", "/healthz").status == 200

            until(answers, "the receiver answers", despite=(OSError,))
            yield client
        finally:
            service.terminate()
            service.wait(30)


def test_a_receiver_needs_the_ledger_alone(lonely_receiver: Client, ledger_url: str) -> None:
    key = "orders/dt%3D2024-01-01/a.parquet"
    assert lonely_receiver.post(notification(record(key))).text == "settling"
    # One that leaves its etag open would be looked up in bronze, which is not there.
    later = record("orders/dt%3D2024-01-02/a.parquet", etag=None)
    assert lonely_receiver.post(notification(later)).text == "settling"
    found = rows(ledger_url, "select partition, state from quicksilver.partition order by 1")
    assert [(row["partition"], row["state"]) for row in found] == [
        ("2024-01-01", "pending"),
        ("2024-01-02", "pending"),
    ]


async def test_a_version_goes_with_its_own_etag(
    ledger_url: str, warehouse_url: str, minio_server: MinioServer
) -> None:
    """The event of the second version was lost: its content has no version that is known."""
    stage = make_stage(warehouse_url, minio_server)
    stage.lake.set_bucket_versioning(stage.dataset.bucket, VersioningConfig(ENABLED))
    database = Database(ledger_url, size=4)
    await database.open()
    try:
        ledger = Ledger(database, Datasets(datasets=(stage.dataset,), path=Path("datasets.yaml")))
        await ledger.upkeep.sync_datasets()
        first = stage.put(generate_month(2019, 1, 20, seed=1), JANUARY)
        assert first.version_id
        await _tell(ledger, stage, first.key, first.etag, first.version_id)
        second = stage.put(generate_month(2019, 1, 30, seed=2), JANUARY)
        sealed = await _seal(ledger, stage)
        assert [(f.etag, f.version_id) for f in sealed.files] == [(second.etag, None)]
        built = await stage.build(JANUARY, *sealed.files)
        assert built.rows_bronze == 30
    finally:
        await database.close()


async def _tell(ledger: Ledger, stage: PartitionStage, key: str, etag: str, version: str) -> None:
    told = ObjectEvent(
        name="ObjectCreated:Put",
        bucket=stage.dataset.bucket,
        key=key,
        etag=etag,
        version_id=version,
        size=1,
        sequencer="1",
        event_at=clock.now(),
    )
    arrival = arrive(told, ledger.datasets, "fast", "127.0.0.1", clock.now())
    assert await ledger.recording.record([arrival]) == ["settling"]


async def _seal(ledger: Ledger, stage: PartitionStage) -> SealedBuild:
    (claim,) = await ledger.claims.claim("one", slots=1, lease=timedelta(seconds=30))
    listing = await list_partition(Bronze(stage.settings), stage.dataset, claim.partition.name)
    sealed = await ledger.sealing.seal(claim, "one", listing, claim.generation)
    assert isinstance(sealed, SealedBuild)
    return sealed


class TestMaxWait:
    """After a failure the wait for the files of the next content begins afresh."""

    @pytest.fixture
    async def kit(self, ledger_url: str) -> AsyncIterator[LedgerHarness]:
        rules = {"quiet": "2m", "max_wait": "10m"}
        kit = await LedgerHarness.open(ledger_url, dataset(ready=rules, attempts=1))
        await kit.put("a")
        clock.advance(timedelta(minutes=2))
        await kit.dispatcher().run_once()
        yield kit
        await kit.close()

    async def _four_files_come(self, kit: LedgerHarness) -> None:
        """A minute apart: one build takes them all, when they have been quiet."""
        for number in range(4):
            assert await kit.cycle() == [], f"{number} of four files would build alone"
            clock.advance(timedelta(minutes=1))
            await kit.put(f"new {number}", file=f"{number}.parquet")
        clock.advance(timedelta(minutes=2))
        assert await kit.cycle() == [True]
        assert len(await kit.builds()) == 2

    async def test_what_failed_waits_afresh(self, kit: LedgerHarness) -> None:
        (flow,) = kit.take_runs()
        await flow.begin()
        await flow.fail("broken")
        await kit.settler().run_once()
        assert (await kit.row())["state"] == "failed"
        clock.advance(timedelta(hours=1))
        await self._four_files_come(kit)

    async def test_what_came_during_the_build_that_failed_waits_afresh(
        self, kit: LedgerHarness
    ) -> None:
        (flow,) = kit.take_runs()
        await flow.begin()
        clock.advance(timedelta(minutes=20))
        await kit.put("meanwhile", file="meanwhile.parquet")
        await flow.fail("broken")
        await kit.settler().run_once()
        assert (await kit.row())["state"] in ("waiting", "pending")
        await self._four_files_come(kit)


async def _begun(kit: LedgerHarness) -> FlowRun:
    """A build whose flow has taken it up, and does not hold it yet."""
    await kit.put("a")
    await kit.dispatcher().run_once()
    (flow,) = kit.take_runs()
    kit.prefect.set_state(flow.id, "RUNNING")
    flow.members = await kit.ledger.runs.begin(flow.key, flow.id, time_limit=kit.time_limit)
    return flow


async def test_a_restart_of_the_ledger_costs_no_attempt() -> None:
    """A build takes longer than the settler's grace, and Postgres is killed in the middle."""
    with EmbeddedStack(HOMES / "restarts", parts={"postgres"}, ports=None) as stack:
        url = stack.home.database_url("ledger")
        await migrate(url)
        kit = await LedgerHarness.open(url, database_url=url, abandon_grace=3.0)
        flow = await _begun(kit)
        (build,) = flow.members
        async with build_leases(FlowContext(kit.settings, kit.ledger, kit.bronze), [build]):
            assert await kit.settler().run_once() == 1
            psutil.Process(stack.supervisor.status("postgres").pid).kill()
            await _settle_past_the_grace(kit)
        result = BuildResult(1, 1, 0, {}, {}, [], [], clock.now())
        await mark_published(FlowContext(kit.settings, kit.ledger, kit.bronze), build, result)
        kit.prefect.set_state(flow.id, "COMPLETED")
        assert await kit.settler().run_once() == 0
        row = await kit.row()
        assert (row["state"], row["attempts"], row["error"]) == ("built", 0, None)
        assert [b["state"] for b in await kit.builds()] == ["succeeded"]
        await kit.close()


async def _settle_past_the_grace(kit: LedgerHarness) -> None:
    """Settle again and again until Postgres was back for twice the grace."""
    settler = kit.settler()
    back: float | None = None
    async with asyncio.timeout(120):
        while back is None or monotonic() < back + 6:
            try:
                assert await settler.run_once() == 1, "the build is given up"
                back = back or monotonic()
            except LedgerUnavailableError:
                pass
            await asyncio.sleep(0.05)


class JumpedClock(datetime):
    """The clock of a host that runs two hours ahead."""

    @classmethod
    def now(cls, tz: Any = None) -> datetime:
        return datetime.now(tz) + timedelta(hours=2)


async def test_a_host_whose_clock_jumps_cancels_nothing(
    ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit = await LedgerHarness.open(ledger_url)
    await kit.ledger.upkeep.set_clock()
    flow = await _begun(kit)
    held = FlowContext(load_settings(database_url=ledger_url), kit.ledger, kit.bronze)
    async with build_leases(held, flow.members):
        monkeypatch.setattr(clock, "datetime", JumpedClock)
        settler = kit.settler()
        for _ in range(3):
            # As the service does now and then; another host asks when it starts.
            await kit.ledger.upkeep.set_clock()
            assert await settler.run_once() == 1
        assert await kit.dispatcher("another host").run_once() == 0
    assert kit.prefect.runs[flow.id].type == "RUNNING"
    (build,) = await kit.builds()
    assert (build["state"], build["error"]) == ("running", None)
    await kit.close()
