"""Builds that share a run: claimed together, brought to Prefect once, ended each by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import date, timedelta

import pytest

from quicksilver.ledger import BegunBuild, ClaimedBuild
from quicksilver.ledger.turns import BACKLOG
from quicksilver.support import clock
from tests.support.ledger_harness import NAME, FlowRun, LedgerHarness, dataset, days

LEASE = timedelta(seconds=30)
# Eight a run at most, four slots: three runs of eight and one of six.
MANY = days(BACKLOG + 6)
MOST = 8


@pytest.fixture(autouse=True)
def _own_clock() -> Iterator[None]:
    yield
    clock.reset()


@pytest.fixture
async def kit(ledger_url: str) -> AsyncIterator[LedgerHarness]:
    kit = await LedgerHarness.open(
        ledger_url,
        dataset(attempts=3, max_partitions_per_run=MOST),
        dataset("other"),
        max_running=4,
    )
    kit.prefect.takes_batches = True
    yield kit
    await kit.close()


async def _land(kit: LedgerHarness, dts: Sequence[date] = MANY) -> None:
    for dt in dts:
        kit.bronze.put(kit.key(dt), "a")
    await kit.tell(*(kit.arrival(dt, "a") for dt in dts))


async def _claim(kit: LedgerHarness, slots: int = 4, most: int = MOST) -> list[ClaimedBuild]:
    return await kit.ledger.claims.claim("one", slots=slots, lease=LEASE, batches={NAME: most})


def _runs(claims: Sequence[ClaimedBuild]) -> list[list[date]]:
    runs: dict[str, list[date]] = {}
    for claim in claims:
        runs.setdefault(claim.run_key or str(claim.id), []).append(claim.partition.dt)
    return list(runs.values())


async def _states(kit: LedgerHarness) -> dict[date, str]:
    """The newest build's state of each partition that has one."""
    rows = await kit.fetch(
        "select distinct on (partition) partition::date, state"
        " from quicksilver.build order by partition, id desc"
    )
    return dict(rows)


def _first(kit: LedgerHarness) -> FlowRun:
    """The run that MANY[0] leads; runs are created in any order."""
    (flow,) = [f for f in kit.take_runs() if f.key.startswith(f"{NAME}/{MANY[0]}+")]
    return flow


class TestClaims:
    async def test_no_run_takes_more_than_it_may_and_neighbours_stay_together(
        self, kit: LedgerHarness
    ) -> None:
        await _land(kit)
        claims = await _claim(kit)
        assert _runs(claims) == [MANY[:8], MANY[8:16], MANY[16:24], MANY[24:]]
        assert await _claim(kit) == [], "no slot more"

    async def test_a_backlog_is_shared_evenly_among_the_slots_to_its_end(
        self, kit: LedgerHarness
    ) -> None:
        await _land(kit)
        assert _runs(await _claim(kit, 2, 100)) == [MANY[:15], MANY[15:]]
        more = days(len(MANY) + 12)[len(MANY) :]
        await _land(kit, more)
        # Fewer than a backlog, but it is being worked off, and a few a run are not worth it.
        assert _runs(await _claim(kit, 4, 100)) == [more[:10], more[10:]]

    async def test_below_the_threshold_each_has_its_own_run(self, kit: LedgerHarness) -> None:
        await _land(kit, MANY[:BACKLOG])
        claims = await _claim(kit, 3)
        assert [claim.run_key for claim in claims] == [None] * 3

    async def test_who_does_not_ask_for_batches_gets_none(self, kit: LedgerHarness) -> None:
        await _land(kit)
        claims = await kit.ledger.claims.claim("one", slots=3, lease=LEASE)
        assert [claim.run_key for claim in claims] == [None] * 3

    async def test_what_failed_before_runs_alone(self, kit: LedgerHarness) -> None:
        await _land(kit)
        failed = MANY[3]
        await kit.fetch("update quicksilver.partition set attempts = 1 where dt = %s", failed)
        runs = _runs(await _claim(kit, 100))
        assert [failed] in runs
        assert sum(map(len, runs)) == len(MANY)

    async def test_a_run_is_one_slot_beside_other_datasets(self, kit: LedgerHarness) -> None:
        await _land(kit)
        assert len(_runs(await _claim(kit, 4))) == 4
        await kit.put("a", name="other")
        (claim,) = await _claim(kit, 5)
        assert claim.partition.dataset == "other"


class TestDispatch:
    async def test_one_run_for_all_of_its_builds(self, kit: LedgerHarness) -> None:
        await _land(kit)
        assert await kit.dispatcher().run_once() == len(MANY)
        assert len(kit.prefect.created) == 4
        parameters = sorted(kit.prefect.parameters.values(), key=lambda p: p["dt"])
        assert [p["dt"] for p in parameters] == [str(MANY[n]) for n in (0, 8, 16, 24)]
        assert {p["batch"] for p in parameters} == set(kit.prefect.created)
        for dt in (MANY[0], MANY[7]):
            (build,) = await kit.builds(dt)
            assert build["flow_run_id"] == kit.prefect.keys[parameters[0]["batch"]]
            key, _, _ = build["idempotency_key"].partition("@")
            assert key == f"{NAME}/{dt}:1:1", "a key of its own all the same"
            assert build["run_builds"] == 8
            assert (build["state"], build["manifest"][0]["key"]) == ("dispatched", kit.key(dt))
        assert set(await kit.reasons()) == {"fired"}

    async def test_a_flow_without_the_parameter_gets_runs_of_one(self, kit: LedgerHarness) -> None:
        kit.prefect.takes_batches = False
        await _land(kit)
        assert await kit.dispatcher().run_once() == 4
        assert all("batch" not in p for p in kit.prefect.parameters.values())

    async def test_what_needs_no_run_drops_out_by_itself(self, kit: LedgerHarness) -> None:
        await _land(kit)
        del kit.bronze.objects[kit.key(MANY[1])]
        await kit.dispatcher().run_once()
        assert len(kit.prefect.created) == 4
        first = _first(kit)
        await first.begin()
        assert [m.partition.dt for m in first.members] == [MANY[0], *MANY[2:8]]
        assert (await kit.row(MANY[1]))["state"] == "waiting"

    @pytest.mark.parametrize("cut", ["claim", "some sealed", "create"])
    async def test_a_crash_between_two_phases_leads_to_the_same_runs(
        self, kit: LedgerHarness, cut: str
    ) -> None:
        await _land(kit)
        if cut == "create":
            kit.prefect.cuts = 4
            await kit.dispatcher("dead").run_once()
        else:
            claims = await kit.ledger.claims.claim(
                "dead", slots=4, lease=LEASE, batches={NAME: MOST}
            )
            for claim in claims[:3] if cut == "some sealed" else []:
                listing = await kit.bronze.list_folder("", kit.key(claim.partition.dt))
                await kit.ledger.sealing.seal(claim, "dead", listing, claim.generation)
        before = list(kit.prefect.created)
        assert len(before) == (4 if cut == "create" else 0)
        clock.advance(2 * LEASE)
        assert await kit.dispatcher("two").run_once() == len(MANY)
        assert len(kit.prefect.created) == 4
        assert kit.prefect.created[: len(before)] == before
        assert set((await _states(kit)).values()) == {"dispatched"}
        assert all([await flow.run() for flow in kit.take_runs()])
        await kit.settler().run_once()
        assert set((await _states(kit)).values()) == {"succeeded"}

    async def test_a_run_that_began_before_the_mark(self, kit: LedgerHarness) -> None:
        await _land(kit)
        kit.prefect.cuts = 4
        dispatcher = kit.dispatcher()
        await dispatcher.run_once()
        assert await _first(kit).begin()
        assert await dispatcher.run_once() == len(MANY) - 8, "what runs is the run's"
        assert Counter((await _states(kit)).values()) == {
            "running": 8,
            "dispatched": len(MANY) - 8,
        }


class TestEnds:
    @pytest.fixture
    async def flow(self, kit: LedgerHarness) -> FlowRun:
        """A run of eight builds, begun: MANY[:8]."""
        await _land(kit)
        await kit.dispatcher().run_once()
        flow = _first(kit)
        assert await flow.begin()
        assert await flow.read()
        return flow

    async def test_all_of_a_run_s_builds_have_the_time_of_all(
        self, kit: LedgerHarness, flow: FlowRun
    ) -> None:
        (build,) = [
            b for b in await kit.ledger.settlement.active_builds() if b.partition.dt == MANY[0]
        ]
        assert build.deadline_at is not None
        assert build.deadline_at - clock.now() > 7 * kit.time_limit
        assert flow.begun is not None

    async def _publish_but(self, flow: FlowRun, *left_out: int) -> None:
        flow.members = [m for n, m in enumerate(flow.members) if n not in left_out]
        assert flow.commit()
        assert await flow.mark()

    async def test_in_a_failed_run_each_ends_as_it_went(
        self, kit: LedgerHarness, flow: FlowRun
    ) -> None:
        broken, yielded = flow.members[2], flow.members[5]
        await kit.ledger.runs.record_error(broken.id, "a test failed")
        await kit.ledger.runs.yield_build(yielded.id, "bronze changed")
        await self._publish_but(flow, 2, 5)
        await flow.end("FAILED", message="1 of 8 partitions failed")
        await kit.settler().run_once()
        states = await _states(kit)
        assert [states[dt] for dt in MANY[:8]] == [
            *["succeeded"] * 2, "failed", *["succeeded"] * 2, "superseded", *["succeeded"] * 2,
        ]  # fmt: skip
        row = await kit.row(MANY[2])
        assert (row["state"], row["attempts"], row["error"]) == ("pending", 1, "a test failed")
        clock.advance(timedelta(minutes=1))
        # The one that failed is tried alone, the one that gave way as any other.
        kit.prefect.created.clear()
        await kit.dispatcher().run_once()
        assert f"{NAME}/{MANY[2]}:1:2" in kit.prefect.created

    @pytest.mark.parametrize("is_seen", [True, False])
    async def test_of_a_run_that_died_only_the_unpublished_is_lost(
        self, kit: LedgerHarness, flow: FlowRun, is_seen: bool
    ) -> None:
        await self._publish_but(flow, 0, 6)
        # Committed in the warehouse and died before it could say so.
        late = (await kit.ledger.settlement.active_builds())[6]
        flow.members = [m for m in await _members(kit, flow) if m.id == late.id]
        assert flow.commit()
        await flow.die()
        if is_seen:
            kit.prefect.set_state(flow.id, "CRASHED")
        for _ in range(4):
            await kit.settler().run_once()
            clock.advance(timedelta(seconds=6))
        states = await _states(kit)
        assert [states[dt] for dt in MANY[:8]] == ["lost", *["succeeded"] * 7]
        assert kit.prefect.runs[flow.id].type == ("CRASHED" if is_seen else "CANCELLED")
        assert (await kit.row(MANY[0]))["attempts"] == 1

    async def test_a_run_that_is_stopped_for_its_time_was_cancelled_by_nobody(
        self, kit: LedgerHarness, flow: FlowRun
    ) -> None:
        await self._publish_but(flow, 1, 2, 3)
        clock.advance(9 * kit.time_limit)
        settler = kit.settler()
        await settler.run_once()
        assert kit.prefect.runs[flow.id].type == "CANCELLING"
        await flow.end("CANCELLED")
        await settler.run_once()
        states = await _states(kit)
        assert Counter(states[dt] for dt in MANY[:8]) == {"lost": 3, "succeeded": 5}
        assert "time limit" in (await kit.row(MANY[2]))["error"]

    async def test_neighbours_are_told_when_the_first_is_given_up(
        self, kit: LedgerHarness, flow: FlowRun
    ) -> None:
        """The warehouse goes away within the pass that cancels the run for the first build."""
        await flow.die()
        settler = kit.settler()
        await settler.run_once()
        clock.advance(timedelta(seconds=6))
        kit.warehouse.is_away = True
        await settler.run_once()
        kit.warehouse.is_away = False
        assert kit.prefect.runs[flow.id].type == "CANCELLED"
        # Not at once, and not for long.
        clock.advance(timedelta(seconds=2))
        await settler.run_once()
        states = await _states(kit)
        assert {states[dt] for dt in MANY[:8]} == {"lost"}, "and not cancelled by a person"
        assert {(await kit.row(dt))["state"] for dt in MANY[:8]} == {"pending"}

    async def test_a_run_that_nobody_took_costs_no_attempt(self, kit: LedgerHarness) -> None:
        await _land(kit)
        await kit.dispatcher().run_once()
        clock.advance(timedelta(days=1))
        await kit.settler().run_once()
        assert set((await _states(kit)).values()) == {"lost"}
        assert {(await kit.row(dt))["attempts"] for dt in MANY} == {0}
        kit.prefect.created.clear()
        assert await kit.dispatcher().run_once() == len(MANY)
        assert len(kit.prefect.created) == 4, "together again, under new keys"

    async def test_cancelled_in_prefect_is_cancelled_for_all_that_is_not_published(
        self, kit: LedgerHarness, flow: FlowRun
    ) -> None:
        await self._publish_but(flow, 7)
        await flow.end("CANCELLED")
        await kit.settler().run_once()
        states = await _states(kit)
        assert [states[dt] for dt in MANY[:8]] == [*["succeeded"] * 7, "cancelled"]


async def _members(kit: LedgerHarness, flow: FlowRun) -> list[BegunBuild]:
    """What the run has begun and not published."""
    return await kit.ledger.runs.begin(flow.key, flow.id, time_limit=kit.time_limit)
