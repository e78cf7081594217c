"""The trouble of one is its own: a misfit beside a healthy dataset, on a real ledger."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from time import monotonic
from typing import Any

import pytest

from quicksilver.domain.partition import Partition
from quicksilver.errors import DeploymentRefusedError
from quicksilver.roles import dispatcher as dispatcher_role
from quicksilver.roles import firing
from quicksilver.roles import settler as settler_role
from quicksilver.support import clock
from tests.support.ledger_harness import (
    DT,
    NAME,
    FakePrefect,
    FakeWarehouse,
    LedgerHarness,
    dataset,
    days,
)

SICK = "sick"


class PickyPrefect(FakePrefect):
    """Refuses the runs of one deployment as Prefect does for wrong parameters."""

    refuses = ""

    async def create_run(self, name: str, **run: Any) -> Any:
        if name == self.refuses:
            raise DeploymentRefusedError(
                f"Prefect refused creating a run of {name}: 409: no {name}"
            )
        return await super().create_run(name, **run)


class StuckWarehouse(FakeWarehouse):
    """Never answers about one partition: somebody holds a lock."""

    stuck: Partition | None = None

    async def revoke(self, partition: Partition, build_id: int) -> dict[str, Any] | None:
        if partition == self.stuck:
            await asyncio.Event().wait()
        return await super().revoke(partition, build_id)


@pytest.fixture(autouse=True)
def _own_clock() -> Iterator[None]:
    yield
    clock.reset()


@pytest.fixture
async def kit(ledger_url: str) -> AsyncIterator[LedgerHarness]:
    kit = await LedgerHarness.open(
        ledger_url,
        dataset(SICK, deployment="sick/one", ends="ledger"),
        dataset(NAME),
        prefect=PickyPrefect(),
    )
    kit.warehouse = StuckWarehouse()
    yield kit
    await kit.close()


async def _open(kit: LedgerHarness, kind: str) -> list[str]:
    alerts = await kit.ledger.notices.alerts()
    return [alert["subject"] for alert in alerts if alert["kind"] == kind]


class TestDispatching:
    async def test_two_thousand_unlistable_partitions_delay_nobody(
        self, kit: LedgerHarness
    ) -> None:
        await kit.tell(*(kit.arrival(dt, "a", name=SICK) for dt in days(2000)))
        kit.bronze.unlistable.add(SICK)
        dispatcher = kit.dispatcher()
        assert await dispatcher.run_once() == 0
        # Its one trial fails too: from the second time on people hear of it.
        clock.advance(timedelta(seconds=11))
        assert await dispatcher.run_once() == 0
        assert await _open(kit, "misfit") == [SICK]
        for number in range(5):
            clock.advance(timedelta(seconds=2))
            await kit.put(str(number))
            assert await dispatcher.run_once() == 1, "claimed at once"
            assert [await flow.run() for flow in kit.take_runs()] == [True]
            await kit.settler().run_once()
        kit.bronze.unlistable.clear()
        for dt in days(2000)[:4]:
            kit.bronze.put(kit.key(dt, name=SICK), "a")
        clock.advance(timedelta(minutes=6))
        await dispatcher.run_once()
        assert await _open(kit, "misfit") == []

    async def test_a_listing_that_hangs_delays_nobody(
        self, kit: LedgerHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(firing, "_LIST_WITHIN", 1.0)
        kit.bronze.hanging.add(SICK)
        await kit.tell(*(kit.arrival(dt, "a", name=SICK) for dt in days(2)))
        dispatcher = kit.dispatcher()
        assert await dispatcher.begin_once() == 2
        await kit.put("a")
        async with asyncio.timeout(30):
            while not kit.prefect.created:
                await dispatcher.begin_once()
                await asyncio.sleep(0.01)
            while True:
                row = await kit.row(name=SICK)
                if row["error"]:
                    break
                await asyncio.sleep(0.01)
        assert "was not listed within 1 s" in row["error"]
        assert row["attempts"] == 0, "no attempt was made"

    async def test_a_refused_deployment_is_its_own_trouble(self, kit: LedgerHarness) -> None:
        assert isinstance(kit.prefect, PickyPrefect)
        kit.prefect.refuses = "sick/one"
        for dt in days(8):
            await kit.put("a", dt, name=SICK)
        await kit.put("a")
        dispatcher = kit.dispatcher()
        assert await dispatcher.run_once() == 1, "the healthy one, among the first"
        row = await kit.row(name=SICK)
        assert (row["state"], row["attempts"]) == ("pending", 1)
        assert "409: no sick/one" in row["error"]
        for _ in range(10):
            clock.advance(timedelta(minutes=6))
            await dispatcher.run_once()
        rows = [await kit.row(dt, SICK) for dt in days(8)]
        assert {r["state"] for r in rows} == {"pending"}
        assert max(r["attempts"] for r in rows) == 4, "one is left for the build itself"
        assert await _open(kit, "misfit") == [SICK]
        kit.prefect.refuses = ""
        clock.advance(timedelta(minutes=6))
        assert await dispatcher.run_once() == 1, "one shows that it is well"
        assert await dispatcher.run_once() > 1
        assert await _open(kit, "misfit") == []

    async def test_a_burst_that_meets_no_prefect_is_one_failure(
        self, kit: LedgerHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        counted: list[int] = []

        def wait(failures: int, **_: float) -> float:
            counted.append(failures)
            return 0.5

        monkeypatch.setattr(dispatcher_role, "delay", wait)
        kit.settings = kit.settings.model_copy(update={"max_running": 10})
        await kit.tell(*(kit.arrival(dt, "a") for dt in days(10)))
        dispatcher = kit.dispatcher()
        kit.prefect.is_away = True
        assert await dispatcher.run_once() == 0
        assert len(await kit.ledger.settlement.active_builds()) == 10
        assert counted == [1], "ten in a row would be waited for as long as it gets"
        await asyncio.sleep(0.6)
        assert await dispatcher.run_once() == 0
        assert counted == [1, 2], "the next burst is the second"

    async def test_a_pause_gives_claims_without_a_run_back(self, kit: LedgerHarness) -> None:
        await kit.put("a")
        dispatcher = kit.dispatcher()
        kit.prefect.is_away = True
        assert await dispatcher.run_once() == 0
        assert [b["state"] for b in await kit.builds()] == ["claimed"]
        await kit.ledger.operators.pause(NAME, "me")
        await dispatcher.run_once()
        assert await kit.ledger.settlement.active_builds() == []
        assert (await kit.row())["shown_state"] == "paused"
        kit.prefect.is_away = False
        await kit.ledger.operators.resume(NAME)
        assert await dispatcher.run_once() == 1


class TestSettling:
    async def test_a_settlement_that_hangs_holds_nobody_up(
        self, kit: LedgerHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(settler_role, "_SETTLE_WITHIN", 2.0)
        monkeypatch.setattr(settler_role, "_PASS", 0.2)
        assert isinstance(kit.warehouse, StuckWarehouse)
        await kit.put("a", name=SICK)
        await kit.put("a")
        await kit.dispatcher().run_once()
        sick, well = sorted(kit.take_runs(), key=lambda flow: NAME in flow.key)
        await sick.begin()
        await sick.end("CRASHED")
        assert await well.run()
        kit.warehouse.stuck = Partition(SICK, DT.isoformat())
        settler = kit.settler()
        began = monotonic()
        assert await settler.run_once() == 1
        assert monotonic() - began < 1.5
        assert (await kit.builds())[0]["state"] == "succeeded"
        async with asyncio.timeout(60):
            while await _open(kit, "settle") != [f"{SICK}/{DT}"]:
                await settler.run_once()
                clock.advance(timedelta(seconds=2))
        kit.warehouse.stuck = None
        clock.advance(timedelta(minutes=2))
        # The try that hangs now has its time; the next one ends.
        async with asyncio.timeout(60):
            while await settler.run_once():
                clock.advance(timedelta(seconds=2))
        assert (await kit.builds(name=SICK))[0]["state"] == "lost"

    async def test_cancelled_by_policy_is_tried_again(self, kit: LedgerHarness) -> None:
        await kit.put("a")
        for _ in range(7):
            assert await kit.dispatcher().run_once() == 1
            (flow,) = kit.take_runs()
            message = "Deployment concurrency limit reached."
            kit.prefect.set_state(flow.id, "CANCELLED", message=message)
            assert await kit.settler().run_once() == 0
            row = await kit.row()
            assert (row["state"], row["attempts"], row["error"]) == ("pending", 0, message)
            clock.advance(timedelta(seconds=11))

    async def test_a_full_pool_is_no_missed_deadline(self, kit: LedgerHarness) -> None:
        kit.prefect.hold = "work pool default is paused: resume it in Prefect"
        await kit.put("a")
        await kit.dispatcher().run_once()
        (flow,) = kit.take_runs()
        settler = kit.settler()
        for _ in range(5):
            clock.advance(timedelta(seconds=121))
            assert await settler.run_once() == 1
        assert "is paused: resume it" in (await kit.row())["error"]
        kit.prefect.hold = None
        assert await flow.run()
        assert await settler.run_once() == 0
        assert (await kit.row())["error"] is None

    async def test_a_flow_that_runs_has_begun(self, kit: LedgerHarness) -> None:
        await kit.put("a")
        await kit.dispatcher().run_once()
        (flow,) = kit.take_runs()
        kit.prefect.set_state(flow.id, "RUNNING")
        settler = kit.settler()
        for _ in range(3):
            clock.advance(timedelta(seconds=121))
            assert await settler.run_once() == 1
        assert kit.prefect.runs[flow.id].type == "RUNNING", "neither cancelled nor doubled"
        assert len(kit.prefect.created) == 1

    async def test_an_error_of_the_data_is_final(self, kit: LedgerHarness) -> None:
        await kit.put("a")
        await kit.dispatcher().run_once()
        (flow,) = kit.take_runs()
        await flow.begin()
        await kit.ledger.runs.record_error(flow.members[0].id, "row 3 is broken", is_final=True)
        await flow.end("FAILED")
        await kit.settler().run_once()
        row = await kit.row()
        assert (row["state"], row["attempts"], row["error"]) == ("failed", 1, "row 3 is broken")
        await kit.put("b")
        assert (await kit.row())["state"] == "pending", "a new version starts afresh"
        assert await kit.cycle() == [True]


class TestSweeping:
    async def test_a_bucket_that_is_gone_ends_no_other_comparison(self, kit: LedgerHarness) -> None:
        kit.bronze.unlistable.add(SICK)
        kit.bronze.put(kit.key(), "a")
        sick, well = await kit.sweep().run_once()
        assert (sick.dataset, sick.error) == (SICK, "MinIO is away")
        assert (well.dataset, well.found, well.error) == (NAME, 1, None)
        assert await _open(kit, "sweep") == [SICK]
        kit.bronze.unlistable.clear()
        await kit.sweep().run_once()
        assert await _open(kit, "sweep") == []

    async def test_what_is_put_again_meanwhile_is_not_forgotten(self, kit: LedgerHarness) -> None:
        await kit.put("a")
        await kit.cycle()
        key = kit.key()
        (kept,) = await kit.ledger.comparison.kept_objects(NAME, "", after="", upto=None, limit=9)
        # Deleted, found missing, and put again before that is recorded.
        await kit.put("b")
        assert await kit.ledger.comparison.record_gone("lake", [kept]) == set()
        assert await kit.ledger.comparison.etags(kit.datasets.get(NAME), [key]) == {key: "b"}
        assert await kit.cycle() == [True]

    async def test_much_that_is_gone_is_found_at_once(self, kit: LedgerHarness) -> None:
        every = days(3000)
        await kit.tell(*(kit.arrival(dt, "a") for dt in every))
        for dt in every[::3]:
            kit.bronze.put(kit.key(dt), "a")
        (swept,) = await kit.sweep().run_once([NAME])
        assert (swept.listed, swept.found, swept.gone) == (1000, 0, 2000)
        assert (await kit.row(every[1]))["gone_at"] is not None
        assert (await kit.row(every[3]))["gone_at"] is None
        (swept,) = await kit.sweep().run_once([NAME])
        assert (swept.found, swept.gone) == (0, 0)


async def test_a_loosened_rule_frees_what_waits(ledger_url: str) -> None:
    strict = dataset(ready={"marker": "_SUCCESS"})
    kit = await LedgerHarness.open(ledger_url, strict)
    await kit.put("a")
    assert (await kit.row())["state"] == "waiting"
    await kit.close()
    kit = await LedgerHarness.open(ledger_url, dataset())
    assert await kit.ledger.waiting.look_again() == 1
    assert await kit.ledger.waiting.look_again() == 0
    assert (await kit.row())["state"] == "pending"
    await kit.close()
