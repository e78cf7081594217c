"""With the service down a flow builds by itself, again and again, whatever the service left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from unittest.mock import Mock
from uuid import uuid4

import pytest

from quicksilver.domain.partition import Partition
from quicksilver.errors import BuildRefusedError, QuicksilverError
from quicksilver.flows import ensure_built as waiting
from quicksilver.flows import failover
from quicksilver.flows.context import FlowContext
from quicksilver.flows.ensure_built import ensure_built
from quicksilver.flows.silver_build import _claim  # pyright: ignore[reportPrivateUsage]
from quicksilver.ledger import turns
from quicksilver.ledger.outbox import LANDED
from quicksilver.support import clock
from tests.support.ledger_harness import DT, NAME, FlowRun, LedgerHarness, dataset, days

HERE = Partition.of_day(NAME, DT)


@pytest.fixture(autouse=True)
def _own_clock() -> Iterator[None]:
    yield
    clock.reset()


@pytest.fixture
async def kit(ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LedgerHarness]:
    kit = await LedgerHarness.open(
        ledger_url,
        dataset(attempts=3, max_partitions_per_run=4),
        dataset("calm", ready={"quiet": "10m"}),
        max_running=1,
    )
    monkeypatch.setattr(failover, "Deployments", Mock(return_value=kit.prefect))
    monkeypatch.setattr(failover, "Warehouse", Mock(return_value=kit.warehouse))
    monkeypatch.setattr(waiting, "_POLL_SECONDS", 0.01)
    yield kit
    await kit.close()


class Flow:
    """A polling flow, or the gate; what it builds itself is kept in `built`."""

    def __init__(self, kit: LedgerHarness) -> None:
        self.kit = kit
        self.lake = FlowContext(kit.settings, kit.ledger, kit.bronze)
        self.built: list[Partition] = []

    async def build_here(self, partition: Partition) -> None:
        """As `silver-build` in a run of its own."""
        run = uuid4()
        self.kit.prefect.set_state(run, "RUNNING")
        sealed = await _claim(self.lake, partition, run)
        assert sealed is not None
        flow = FlowRun(self.kit, run, sealed.idempotency_key)
        self.kit.flows.append(flow)
        assert await flow.run()
        self.built.append(partition)

    async def ensure(self, *partitions: Partition) -> None:
        """Have partitions built; none of this takes a flow long."""
        patience = timedelta(seconds=20)
        await ensure_built(self.lake, partitions or [HERE], self.build_here, patience=patience)


def service_is_gone(kit: LedgerHarness) -> None:
    """Nobody was heard of for a lease."""
    clock.advance(timedelta(seconds=kit.settings.claim_lease + 1))


async def test_each_new_content_is_built_and_announced(kit: LedgerHarness) -> None:
    flow = Flow(kit)
    for generation, content in enumerate("abc", 1):
        kit.bronze.put(kit.key(), content)
        await flow.ensure()
        row = await kit.row()
        assert (row["state"], row["built_generation"]) == ("built", generation)
    assert flow.built == [HERE] * 3
    assert [b["state"] for b in await kit.builds()] == ["succeeded", "succeeded", "published"]
    assert await kit.reasons() == ["fired"] * 3
    told = await kit.ledger.outbox.unsent()
    assert [a["payload"]["generation"] for a in told if a["name"] == LANDED] == [1, 2, 3]


async def test_one_started_by_hand_ends_the_one_before(kit: LedgerHarness) -> None:
    flow = Flow(kit)
    for content in "ab":
        kit.bronze.put(kit.key(), content)
        await flow.build_here(HERE)
    assert (await kit.row())["built_generation"] == 2


async def test_a_build_of_somebody_alive_is_left_to_them(kit: LedgerHarness) -> None:
    flow = Flow(kit)
    kit.bronze.put(kit.key(), "a")
    await flow.build_here(HERE)
    await kit.put("b")
    await kit.ledger.upkeep.beat("one")
    with pytest.raises(BuildRefusedError):
        await flow.build_here(HERE)
    assert [b["state"] for b in await kit.builds()] == ["published"]


@pytest.mark.parametrize("left", ["crashed", "published", "never began", "never fired"])
async def test_what_the_service_left_does_not_stand_in_the_way(
    kit: LedgerHarness, left: str
) -> None:
    await kit.put("a")
    if left == "never fired":
        kit.prefect.cuts = 1
    await kit.dispatcher().run_once()
    (run,) = kit.take_runs()
    if left in ("crashed", "published"):
        assert await run.begin()
        assert await run.read()
        if left == "published":
            assert run.commit()
        await run.end("CRASHED")
    # Past the deadline of a run that has not begun, and past a retry's pause.
    clock.advance(timedelta(seconds=kit.settings.start_deadline + 1))
    service_is_gone(kit)
    kit.bronze.put(kit.key(), "b")
    flow = Flow(kit)
    await flow.ensure()
    row = await kit.row()
    assert (row["state"], row["built_generation"]) == ("built", 2)
    assert flow.built == [HERE]
    assert not await run.begin(), "the run that the service had made has nothing to do any more"


async def test_batches_that_the_service_left_end_too(
    kit: LedgerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "BACKLOG", 2)
    kit.prefect.takes_batches = True
    places = [Partition.of_day(NAME, dt) for dt in days(4)]
    for place in places:
        await kit.put("a", place.dt)
    await kit.dispatcher().run_once()
    (run,) = kit.take_runs()
    assert len(await kit.ledger.settlement.active_builds()) == len(places), (
        "one run for all of them"
    )
    clock.advance(timedelta(seconds=kit.settings.start_deadline + 1))
    service_is_gone(kit)
    flow = Flow(kit)
    await flow.ensure(*places)
    assert sorted(flow.built) == places
    assert not await run.begin()


async def test_what_another_flow_takes_first_is_waited_for(kit: LedgerHarness) -> None:
    kit.bronze.put(kit.key(), "a")
    flow = Flow(kit)
    ends: list[asyncio.Task[bool]] = []

    async def build_late(partition: Partition) -> None:
        # Between this flow's look and its claim the other one came.
        run = uuid4()
        kit.prefect.set_state(run, "RUNNING")
        sealed = await _claim(flow.lake, partition, run)
        assert sealed is not None
        other = FlowRun(kit, run, sealed.idempotency_key)
        kit.flows.append(other)
        with pytest.raises(BuildRefusedError) as refused:
            await _claim(flow.lake, partition, uuid4())
        ends.append(asyncio.create_task(other.run()))
        raise refused.value

    await ensure_built(flow.lake, [HERE], build_late, patience=timedelta(seconds=20))
    assert [await end for end in ends] == [True]
    assert [b["attempt"] for b in await kit.builds()] == [1]


async def test_a_rule_that_the_clock_fulfils_is_built_when_it_is_due(kit: LedgerHarness) -> None:
    calm = Partition.of_day("calm", DT)
    kit.bronze.put(kit.key(name="calm"), "a")
    flow = Flow(kit)
    patience = timedelta(seconds=0.2)
    with pytest.raises(QuicksilverError, match="quiet for 600 s"):
        await ensure_built(flow.lake, [calm], flow.build_here, patience=patience)
    assert flow.built == []
    clock.advance(timedelta(minutes=10))
    await flow.ensure(calm)
    assert flow.built == [calm]
