"""A lock that somebody else holds delays a build, costs it no attempt, and is told of by name."""

import asyncio
from datetime import date, timedelta

import psycopg
import pytest

from quicksilver.build.batch import build_batch
from quicksilver.build.result import BuildOutcome, BuildResult
from quicksilver.domain.partition import Partition
from quicksilver.errors import WarehouseLockedError
from quicksilver.flows.nyc_tlc.generated import generate_month
from quicksilver.ledger import BegunBuild
from tests.support.partition_child import start
from tests.support.partition_stage import PartitionStage, make_stage
from tests.support.servers import MinioServer
from tests.support.waiting import until

JANUARY = date(2019, 1, 1)


@pytest.fixture
def stage(warehouse_url: str, minio_server: MinioServer) -> PartitionStage:
    return make_stage(warehouse_url, minio_server)


def _begun(stage: PartitionStage, build_id: int) -> BegunBuild:
    listed = stage.put(generate_month(2019, 1, 50, build_id), JANUARY)
    partition = Partition.of_day(stage.dataset.name, JANUARY)
    return BegunBuild(build_id, partition, build_id, 1, (listed,))


@pytest.mark.parametrize("is_new", [True, False])
async def test_a_publish_waits_for_somebody_s_index(stage: PartitionStage, is_new: bool) -> None:
    await stage.build(JANUARY if not is_new else date(2019, 2, 1))
    told: list[str] = []
    ended: list[BuildOutcome] = []

    async def waits(_: BegunBuild, why: str) -> None:
        told.append(why)

    async def tell(_: BegunBuild, outcome: BuildOutcome) -> None:
        ended.append(outcome)

    with psycopg.connect(stage.url, application_name="a colleague") as other:
        pid = other.info.backend_pid
        other.execute("create index on silver.yellow_trips (pickup_at)")
        builds = [_begun(stage, 7)]
        building = asyncio.create_task(
            build_batch(stage.settings, stage.dataset, builds, tell, waits)
        )
        await asyncio.to_thread(until, lambda: told, "somebody is told", within=200)
        assert not building.done()
        assert f"session {pid} of {other.info.user} (a colleague, idle in transaction)" in told[0]
        assert "create index on silver.yellow_trips" in told[0]
        # Nobody waits behind it: the fence's row is free between and during the tries.
        other.commit()
    await building
    assert isinstance(ended[0], BuildResult)
    assert stage.counts(JANUARY)[0] == 50


async def test_it_says_so_when_the_time_is_over(stage: PartitionStage) -> None:
    await stage.build(JANUARY)
    stage.dataset = stage.dataset.model_copy(update={"time_limit": timedelta(seconds=20)})
    with psycopg.connect(stage.url) as other:
        other.execute("create index on silver.yellow_trips (pickup_at)")
        with pytest.raises(WarehouseLockedError, match="waits to be published: session"):
            await stage.build(JANUARY, *_begun(stage, 7).manifest, build_id=7)
    assert stage.scratch() == []


async def test_a_build_that_died_waiting_is_settled_while_the_lock_is_held(
    stage: PartitionStage,
) -> None:
    await stage.build(JANUARY, build_id=1)
    with psycopg.connect(stage.url) as other:
        other.execute("create index on silver.yellow_trips (pickup_at)")
        child = start(stage.settings, stage.dataset, [(JANUARY, 7, _begun(stage, 7).manifest)])
        waiting = (
            "select count(*) from pg_stat_activity where application_name = 'quicksilver build 7'"
            " and wait_event_type = 'Lock' and datname = current_database()"
        )
        await asyncio.to_thread(
            until, lambda: stage.rows(waiting) == [(1,)], "the wait", within=200
        )
        child.process.kill()
        assert await asyncio.wait_for(stage.settle(JANUARY, 7), 4) is None
        sessions = waiting.replace(" and wait_event_type = 'Lock'", "")
        await asyncio.to_thread(until, lambda: stage.rows(sessions) == [(0,)], "their end")
        code, _ = await asyncio.to_thread(child.wait)
        assert code == -9


async def test_another_warehouse_s_sessions_are_left_alone(
    stage: PartitionStage, ledger_url: str
) -> None:
    with psycopg.connect(ledger_url, application_name="quicksilver build 7") as theirs:
        await stage.settle(JANUARY, 7)
        assert theirs.execute("select 1").fetchone() == (1,)
