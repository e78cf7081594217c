"""The worker type `quicksilver`: woken by the ledger, and a process worker in all that it promises.

`test_engine` compares how its runs end with those of Prefect's own worker. Here the worker polls
every ten minutes: whatever begins, begins because it was woken.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import DeploymentUpdate, WorkPoolUpdate

from quicksilver.domain.datasets import Datasets
from quicksilver.ledger import Ledger
from quicksilver.support.postgres import Database
from tests.support.engine_stage import LAUNCHER, Engine, EngineStage, StartedRun, alive, eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the warm engine needs Linux")


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    # Not tmp_path: below it lies a unix socket, whose path may have 107 bytes.
    with tempfile.TemporaryDirectory(prefix="qsw-") as name:
        engine = Engine(Path(name))
        engine.start()
        yield engine
        engine.stop()


@pytest.fixture
async def client(prefect_api: str) -> AsyncIterator[PrefectClient]:
    async with get_client() as client:
        yield client


class Stage(EngineStage):
    """One that is woken as the dispatcher wakes it."""

    def __init__(
        self,
        ledger: Ledger,
        url: str,
        client: PrefectClient,
        engine: Engine,
        pool: str | None = None,
    ) -> None:
        folder = Path(tempfile.mkdtemp(dir=engine.folder))
        super().__init__(
            client,
            folder,
            engine,
            "quicksilver",
            limit=1,
            PREFECT_WORKER_QUERY_SECONDS="600",
            QUICKSILVER_DATABASE_URL=url,
            PREFECT_LOGGING_LEVEL="DEBUG",
        )
        self.pool = pool or self.pool
        self.ledger = ledger
        self.url = url

    async def wake(self) -> None:
        """Say that Prefect has a new run."""
        await self.ledger.gates.mark_fired("nobody's", "", 1, None)

    def polls(self) -> int:
        """How often the worker has asked for runs."""
        return self.output.read_text(errors="replace").count("Querying for flow runs")

    async def run_woken(self, name: str, **parameters: object) -> StartedRun:
        """Create a run, and say so."""
        run = await self.run(name, LAUNCHER, **parameters)
        await self.wake()
        return run

    async def is_left_alone(self, run: StartedRun) -> bool:
        """Whether a worker that is woken polls, and does not take the run."""
        before = self.polls()
        await self.wake()
        # The first of the two may have been on its way already.
        await eventually(lambda: self.polls() > before, "the worker polls")
        before = self.polls()
        await self.wake()
        await eventually(lambda: self.polls() > before, "the worker polls again")
        state = (await self.client.read_flow_run(run.id)).state
        return state is not None and state.is_scheduled()


@pytest.fixture
async def stage(client: PrefectClient, engine: Engine, ledger_url: str) -> AsyncIterator[Stage]:
    engine.start_again()
    database = Database(ledger_url, size=1)
    await database.open()
    ledger = Ledger(database, Datasets(datasets=(), path=Path("datasets.yaml")))
    stage = Stage(ledger, ledger_url, client, engine)
    await stage.open()
    # Its first poll, and the one for having begun to listen.
    await eventually(lambda: stage.polls() >= 2, "the worker listens")
    yield stage
    stage.close()
    await database.close()


async def one_after_the_other(stage: Stage, *runs: StartedRun) -> bool:
    """Whether of two runs that have ended one began when the other was over."""
    found = [await stage.client.read_flow_run(run.id) for run in runs]
    (_, ended), (began, _) = sorted(
        (run.start_time, run.end_time) for run in found if run.start_time and run.end_time
    )
    return ended <= began


async def test_a_run_begins_when_the_ledger_says_so(stage: Stage) -> None:
    run = await stage.run_woken("describe")
    seen = await run.began()
    assert seen["warm"]
    assert "QUICKSILVER__FLOW_RUN" not in seen["environment"]
    assert (await run.ended()).is_completed()
    assert seen["pid"] == await run.launcher()


async def test_the_next_run_begins_with_the_end_of_the_one_before(stage: Stage) -> None:
    """The limit is one, and nobody says anything when a run has ended."""
    first, second = await stage.run("sleep", seconds=2), await stage.run("sleep", seconds=2)
    await stage.wake()
    ends = [await run.ended() for run in (first, second)]
    assert all(end.is_completed() for end in ends)
    assert await one_after_the_other(stage, first, second)


async def test_a_paused_pool_and_a_paused_queue_rest(stage: Stage) -> None:
    await stage.client.update_work_pool(stage.pool, WorkPoolUpdate(is_paused=True))
    run = await stage.run("stamp_async")
    assert await stage.is_left_alone(run)
    await stage.client.update_work_pool(stage.pool, WorkPoolUpdate(is_paused=False))
    queue = (await stage.client.read_work_queues(work_pool_name=stage.pool))[0]
    await stage.client.update_work_queue(queue.id, is_paused=True)
    assert await stage.is_left_alone(run)
    await stage.client.update_work_queue(queue.id, is_paused=False)
    await stage.wake()
    assert (await run.ended()).is_completed()


async def test_the_pools_own_limit_holds(stage: Stage) -> None:
    await stage.client.update_work_pool(stage.pool, WorkPoolUpdate(concurrency_limit=1))
    other = Stage(stage.ledger, stage.url, stage.client, stage.engine, stage.pool)
    other.start_worker()
    try:
        await eventually(lambda: other.polls() >= 2, "a second worker of the pool listens")
        first, second = await stage.run("sleep", seconds=3), await stage.run("sleep", seconds=3)
        await stage.wake()
        await first.ended()
        await stage.wake()
        await second.ended()
    finally:
        other.close()
    assert await one_after_the_other(stage, first, second)


async def test_what_a_deployment_says_now_counts(stage: Stage) -> None:
    """What does not change is kept; a deployment's job variables may change with every run."""
    first = await stage.run_woken("describe")
    assert "SAID" not in (await first.began())["environment"]
    deployment = await stage.deployed("describe")
    said = {**deployment.job_variables, "env": {"SAID": "now"}}
    await stage.client.update_deployment(deployment.id, DeploymentUpdate(job_variables=said))
    await first.ended()
    second = await stage.run_woken("describe")
    assert (await second.began())["environment"]["SAID"] == "now"


async def test_a_killed_worker_leaves_its_run_running(stage: Stage) -> None:
    run = await stage.run_woken("sleep", seconds=3)
    await run.began()
    stage.close(signal.SIGKILL)
    assert (await run.ended()).is_completed()


async def test_a_worker_that_is_stopped_ends_its_run(stage: Stage) -> None:
    run = await stage.run_woken("sleep")
    seen = await run.began()
    await asyncio.to_thread(stage.close)
    state = await run.ended()
    assert state.name == "Crashed"
    assert state.message == "Execution was aborted by a termination signal."
    assert not alive(seen["pid"])


async def test_without_an_engine_the_run_begins_the_stock_way(stage: Stage) -> None:
    stage.engine.stop()
    run = await stage.run_woken("describe")
    assert not (await run.began())["warm"]
    assert (await run.ended()).is_completed()
    assert len(stage.complaints()) == 1
