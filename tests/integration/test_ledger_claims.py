"""Claims: their order and limits, and what two connections do that want the same."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import date, timedelta
from uuid import uuid4

import pytest

from quicksilver.domain.partition import Partition
from quicksilver.ledger import ClaimedBuild, SealedBuild
from quicksilver.support import clock
from tests.support.ledger_harness import BUCKET, DT, NAME, LedgerHarness, dataset, days, together

LEASE = timedelta(seconds=30)


@pytest.fixture(autouse=True)
def _own_clock() -> Iterator[None]:
    yield
    clock.reset()


@pytest.fixture
async def kit(ledger_url: str) -> AsyncIterator[LedgerHarness]:
    kit = await LedgerHarness.open(ledger_url)
    yield kit
    await kit.close()


def _dts(claims: list[ClaimedBuild]) -> list[date]:
    return [claim.partition.dt for claim in claims]


async def _claim(kit: LedgerHarness, slots: int = 100, owner: str = "one") -> list[ClaimedBuild]:
    return await kit.ledger.claims.claim(owner, slots=slots, lease=LEASE)


async def _sealed(kit: LedgerHarness, owner: str = "one") -> SealedBuild:
    (claimed,) = await _claim(kit, owner=owner)
    listing = await kit.bronze.list_folder(BUCKET, f"{NAME}/dt={DT}/")
    sealed = await kit.ledger.sealing.seal(claimed, owner, listing, claimed.generation)
    assert isinstance(sealed, SealedBuild)
    return sealed


class TestOrder:
    async def test_in_the_order_of_the_events(self, kit: LedgerHarness) -> None:
        order = [days(5)[n] for n in (3, 0, 4, 1, 2)]
        for dt in order:
            await kit.put("a", dt)
            clock.advance(timedelta(seconds=1))
        # A second change of the first one does not send it to the end of the queue.
        await kit.put("b", order[0])
        assert _dts(await _claim(kit, 3)) == order[:3]
        assert await _claim(kit, 3) == []
        assert _dts(await _claim(kit, 5)) == order[3:]

    async def test_newest_first_when_the_dataset_says_so(self, ledger_url: str) -> None:
        kit = await LedgerHarness.open(ledger_url, dataset(newest_first=True))
        for dt in days(4):
            await kit.put("a", dt)
            clock.advance(timedelta(seconds=1))
        assert _dts(await _claim(kit, 2)) == [days(4)[3], days(4)[2]]
        await kit.close()

    async def test_a_backfill_stands_behind_live_events(self, kit: LedgerHarness) -> None:
        first, second, third = days(3)
        for dt in (first, second):
            await kit.put("a", dt)
            await kit.cycle()
        await kit.ledger.recording.rebuild(
            [Partition.of_day(NAME, first), Partition.of_day(NAME, second)], priority=-10
        )
        clock.advance(timedelta(minutes=1))
        await kit.put("a", third)
        assert _dts(await _claim(kit, 2)) == [third, first]

    async def test_priorities_of_datasets(self, ledger_url: str) -> None:
        kit = await LedgerHarness.open(ledger_url, dataset("slow"), dataset("quick", priority=5))
        await kit.put("a", name="slow")
        clock.advance(timedelta(minutes=1))
        await kit.put("a", name="quick")
        (claim,) = await _claim(kit, 1)
        assert claim.partition.dataset == "quick"
        await kit.close()

    async def test_limits_of_datasets_and_of_all(self, ledger_url: str) -> None:
        kit = await LedgerHarness.open(
            ledger_url, dataset("narrow", max_running=2), dataset("wide")
        )
        for dt in days(4):
            await kit.put("a", dt, name="narrow")
        for dt in days(4):
            await kit.put("a", dt, name="wide")
        names = [claim.partition.dataset for claim in await _claim(kit, 5)]
        assert names == ["narrow", "wide"] * 2 + ["wide"], "they take turns"
        assert await _claim(kit, 5) == []
        names = [claim.partition.dataset for claim in await _claim(kit, 6)]
        assert names == ["wide"]
        await kit.close()

    async def test_paused_and_undeclared_datasets_are_left_alone(self, ledger_url: str) -> None:
        kit = await LedgerHarness.open(ledger_url, dataset("one"), dataset("two"), dataset("three"))
        for name in ("one", "two", "three"):
            await kit.put("a", name=name)
        await kit.ledger.operators.pause("one", "me")
        fewer = await LedgerHarness.open(ledger_url, dataset("one"), dataset("three"))
        names = [claim.partition.dataset for claim in await _claim(kit, 1)]
        assert names == ["two"], "a command with a smaller file takes nothing away"
        assert await fewer.ledger.upkeep.undeclare_datasets() == ["two"]
        await kit.put("b", days(2)[1], name="two")
        assert [claim.partition.dataset for claim in await _claim(kit)] == ["three"]
        await kit.ledger.upkeep.sync_datasets()
        assert [claim.partition.dataset for claim in await _claim(kit)] == ["two"]
        await together(kit.close(), fewer.close())


class TestRaces:
    @pytest.mark.parametrize("rounds", range(3))
    async def test_eight_connections_claim_each_partition_once(
        self, kit: LedgerHarness, rounds: int
    ) -> None:
        await kit.tell(*(kit.arrival(dt, "a") for dt in days(12)))
        taken = await together(*(_claim(kit, 10, f"owner {n}") for n in range(8)))
        claims = [claim for claims in taken for claim in claims]
        assert len({claim.partition for claim in claims}) == len(claims) == 10, "and no slot more"

    async def test_a_row_that_is_being_written_is_claimed_later(self, kit: LedgerHarness) -> None:
        await kit.put("a")
        async with kit.database.transaction() as tx:
            await tx.one("lock_partition", dataset=NAME, partition=str(DT))
            assert await _claim(kit) == []
        assert _dts(await _claim(kit)) == [DT]

    async def test_the_database_forbids_a_second_active_build(self, kit: LedgerHarness) -> None:
        await kit.put("a")
        await _claim(kit)
        with pytest.raises(Exception, match="build_one_active"):
            await kit.fetch(
                "insert into quicksilver.build (dataset, partition, generation, owner, claimed_at)"
                " values (%s, %s, 1, 'nobody', now())",
                NAME,
                DT,
            )

    async def test_record_against_claim_and_seal(self, kit: LedgerHarness) -> None:
        """Whatever the interleaving: nothing recorded is lost to a manifest that lacks it."""
        for number in range(12):
            dt = days(12)[number]
            await kit.put("a", dt)
            await together(kit.dispatcher().run_once(), kit.put("b", dt))
            for _ in range(2):
                for flow in kit.take_runs():
                    await flow.run()
                await kit.settler().run_once()
                await kit.dispatcher().run_once()
            row = await kit.row(dt)
            assert (row["state"], row["built_generation"]) == ("built", 2), number
            assert kit.warehouse.silver[Partition.of_day(NAME, dt)] == ((kit.key(dt), "b"),)

    @pytest.mark.parametrize("rounds", range(3))
    async def test_begin_against_mark(self, kit: LedgerHarness, rounds: int) -> None:
        await kit.put("a")
        sealed = await _sealed(kit)
        run = uuid4()
        begun, marked = await together(
            kit.ledger.runs.begin(sealed.idempotency_key, run, time_limit=LEASE),
            kit.ledger.claims.mark_dispatched([sealed], "one", run, start_within=LEASE),
        )
        assert len(begun) == marked == 1
        (build,) = await kit.builds()
        assert (build["state"], build["flow_run_id"]) == ("running", run)
        assert await kit.reasons() == ["fired"]

    async def test_two_runs_of_one_key_begin_once(self, kit: LedgerHarness) -> None:
        await kit.put("a")
        sealed = await _sealed(kit)
        begun = await together(
            *(
                kit.ledger.runs.begin(sealed.idempotency_key, uuid4(), time_limit=LEASE)
                for _ in range(4)
            )
        )
        assert sum(map(len, begun)) == 1

    async def test_a_run_that_asks_twice_begins_once_more(self, kit: LedgerHarness) -> None:
        await kit.put("a")
        sealed = await _sealed(kit)
        run = uuid4()
        first = await kit.ledger.runs.begin(sealed.idempotency_key, run, time_limit=LEASE)
        assert first
        assert await kit.ledger.runs.begin(sealed.idempotency_key, run, time_limit=LEASE) == first

    @pytest.mark.parametrize("rounds", range(3))
    async def test_two_settlers_finish_once(self, kit: LedgerHarness, rounds: int) -> None:
        await kit.put("a")
        await kit.dispatcher().run_once()
        (flow,) = kit.take_runs()
        await flow.begin()
        await flow.fail("broken")
        await together(*(kit.settler().run_once() for _ in range(4)))
        row = await kit.row()
        assert (row["attempts"], row["state"], row["error"]) == (1, "pending", "broken")

    @pytest.mark.parametrize("rounds", range(3))
    async def test_publishing_against_being_given_up(self, kit: LedgerHarness, rounds: int) -> None:
        await kit.put("a")
        await kit.dispatcher().run_once()
        (flow,) = kit.take_runs()
        await flow.begin()
        await flow.read()
        await kit.put("b")
        assert flow.commit()
        await flow.die()
        kit.prefect.set_state(flow.id, "CRASHED")
        await together(flow.mark(), *(kit.settler().run_once() for _ in range(3)))
        await kit.settler().run_once()
        row = await kit.row()
        assert (row["built_generation"], row["state"], row["attempts"]) == (1, "pending", 0)
        (build,) = await kit.builds()
        assert build["state"] == "succeeded"


class TestAdoption:
    async def test_a_dead_owners_claims_are_taken_over_once(self, kit: LedgerHarness) -> None:
        await kit.tell(*(kit.arrival(dt, "a") for dt in days(3)))
        await kit.ledger.upkeep.beat("dead")
        await _claim(kit, owner="dead")
        assert await kit.ledger.claims.adopt("two", lease=LEASE) == 0, "it is alive"
        clock.advance(timedelta(seconds=31))
        taken = await together(
            *(kit.ledger.claims.adopt(f"heir {n}", lease=LEASE) for n in range(4))
        )
        assert sum(taken) == 3
        assert await kit.ledger.claims.own_claims("dead") == []

    async def test_a_slow_owner_that_is_alive_keeps_its_claims(self, kit: LedgerHarness) -> None:
        await kit.put("a")
        await _claim(kit, owner="slow")
        clock.advance(timedelta(minutes=5))
        await kit.ledger.upkeep.beat("slow")
        assert await kit.ledger.claims.adopt("two", lease=LEASE) == 0

    async def test_one_that_ends_in_good_order_is_not_waited_for(self, kit: LedgerHarness) -> None:
        await kit.put("a")
        await kit.ledger.upkeep.beat("one")
        await _claim(kit)
        clock.advance(timedelta(seconds=31))
        await kit.ledger.upkeep.beat("one")
        await kit.ledger.upkeep.retire("one")
        assert await kit.ledger.claims.adopt("two", lease=LEASE) == 1

    async def test_a_dispatcher_goes_on_where_another_stopped(self, kit: LedgerHarness) -> None:
        for content in ("a", "b"):
            await kit.put(content)
        await _sealed(kit, "dead")
        clock.advance(timedelta(minutes=1))
        assert await kit.cycle(kit.dispatcher("heir")) == [True]
        assert kit.prefect.created == [f"{NAME}/{DT}:2:1"]

    async def test_a_claim_of_a_dataset_that_is_not_declared_here(self, ledger_url: str) -> None:
        both = await LedgerHarness.open(ledger_url, dataset("old"), dataset(NAME))
        await both.put("a", name="old")
        await _claim(both, owner="dead")
        kit = await LedgerHarness.open(ledger_url)
        await kit.put("a")
        clock.advance(timedelta(minutes=1))
        assert await kit.cycle(kit.dispatcher("heir")) == [True], "the others go on"
        row = await kit.row(name="old")
        assert row["state"] == "pending"
        assert "is not declared" in row["error"]
        await together(both.close(), kit.close())


async def test_a_key_that_may_have_reached_prefect_is_spent(kit: LedgerHarness) -> None:
    """Prefect made the run, its answer was cut; then bronze is away: the claim is given back."""
    dispatcher = kit.dispatcher()
    await kit.put("a")
    kit.prefect.cuts = 1
    assert await dispatcher.run_once() == 0
    kit.bronze.is_away = True
    assert await dispatcher.run_once() == 0
    kit.bronze.is_away = False
    row = await kit.row()
    assert (row["state"], row["attempts"], row["error"]) == ("pending", 0, "MinIO is away")
    (orphan,) = kit.take_runs()
    assert not await orphan.begin(), "nothing for it to do"
    clock.advance(timedelta(seconds=11))
    assert await kit.cycle(dispatcher) == [True]
    assert kit.prefect.created == [f"{NAME}/{DT}:1:1", f"{NAME}/{DT}:1:2"]
    assert [b["state"] for b in await kit.builds()] == ["superseded", "succeeded"]
    assert (await kit.row())["attempts"] == 0
