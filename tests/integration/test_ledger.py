"""What lands: identity, coalescing, sealing, and the reason that each event ends with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import date, timedelta

import pytest

from quicksilver.domain.arrival import Lane
from quicksilver.domain.partition import Partition
from quicksilver.domain.states import Needless
from quicksilver.errors import LedgerUnavailableError
from quicksilver.ledger import NoBuild, SealedBuild
from quicksilver.roles.loop import Job, run_jobs
from quicksilver.roles.sweep import SETTLED
from quicksilver.support import clock
from tests.support.ledger_harness import (
    BUCKET,
    DT,
    NAME,
    LedgerHarness,
    at,
    dataset,
    days,
    together,
)

HERE = Partition.of_day(NAME, DT)
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


async def _seal(kit: LedgerHarness, owner: str = "one") -> SealedBuild | NoBuild:
    """Claim the one due partition and seal it with what bronze holds."""
    (claimed,) = await kit.ledger.claims.claim(owner, slots=10, lease=LEASE)
    listing = await kit.bronze.list_folder(BUCKET, f"{NAME}/dt={DT}/")
    return await kit.ledger.sealing.seal(claimed, owner, listing, claimed.generation)


class TestIdentity:
    async def test_both_lanes_and_retries_count_once(self, kit: LedgerHarness) -> None:
        assert await kit.put("a") == "settling"
        durable = kit.arrival(DT, "a", lane="durable")
        assert await kit.tell(durable, durable) == ["duplicate", "duplicate"]
        (event,) = await kit.ledger.views.events()
        assert (event["deliveries"], event["reason"], event["generation"]) == (3, "settling", 1)
        assert event["fast_at"] is not None
        assert event["durable_at"] is not None
        assert (await kit.row())["generation"] == 1

    async def test_twice_in_one_batch_counts_once(self, kit: LedgerHarness) -> None:
        both = kit.arrival(DT, "a"), kit.arrival(DT, "a", lane="durable")
        assert await kit.tell(*both) == ["settling", "duplicate"]
        assert (await kit.row())["generation"] == 1

    @pytest.mark.parametrize("rounds", range(5))
    async def test_two_connections_record_one_event_once(
        self, kit: LedgerHarness, rounds: int
    ) -> None:
        await together(*(kit.tell(kit.arrival(DT, "a", lane=lane)) for lane in _lanes(8)))
        (event,) = await kit.ledger.views.events()
        assert event["deliveries"] == 8
        row = await kit.row()
        assert (row["generation"], row["state"]) == (1, "pending")

    async def test_many_partitions_recorded_at_once_deadlock_nowhere(
        self, kit: LedgerHarness
    ) -> None:
        batches = [[kit.arrival(dt, f"{n}") for dt in days(20)] for n in range(6)]
        for batch in batches[::2]:
            batch.reverse()
        await together(*(kit.tell(*batch) for batch in batches))
        rows = await kit.ledger.views.partitions(limit=100)
        assert [row["generation"] for row in rows] == [6] * 20

    async def test_the_same_etag_builds_nothing_new(self, kit: LedgerHarness) -> None:
        await kit.put("a")
        assert await kit.tell(kit.arrival(DT, "a", sequencer="later")) == ["unchanged"]
        assert (await kit.row())["generation"] == 1

    async def test_unless_the_dataset_wants_it(self, ledger_url: str) -> None:
        kit = await LedgerHarness.open(ledger_url, dataset(skip_unchanged=False))
        await kit.put("a")
        assert await kit.tell(kit.arrival(DT, "a", sequencer="later")) == ["settling"]
        await kit.cycle()
        await kit.cycle()
        await kit.tell(kit.arrival(DT, "a", sequencer="latest"))
        await kit.cycle()
        assert [b["generation"] for b in await kit.builds()] == [2, 3]
        await kit.close()

    async def test_what_is_no_new_content_raises_nothing(self, kit: LedgerHarness) -> None:
        reasons = await kit.tell(
            kit.arrival(DT, "a", event="ObjectCreated:PutTagging"),
            kit.arrival(DT, None, event="ObjectRemoved:Delete"),
            kit.arrival(DT, "b", file="notes.txt"),
        )
        assert reasons == ["ignored:tagging", "ignored:delete", "ignored:other-file"]
        assert await kit.ledger.views.partition(HERE) is None
        assert sorted(await kit.reasons()) == sorted(reasons)

    async def test_an_event_before_the_one_that_made_it_old(self, kit: LedgerHarness) -> None:
        kit.bronze.put(kit.key(), "b")
        await kit.tell(kit.arrival(DT, "b"))
        assert await kit.cycle() == [True]
        # The older version's event comes last: dirty, but bronze says that nothing changed.
        assert await kit.tell(kit.arrival(DT, "a")) == ["settling"]
        assert await kit.cycle() == []
        row = await kit.row()
        assert (row["state"], row["built_generation"]) == ("built", row["generation"])
        assert await kit.reasons() == ["fired", "unchanged"]
        assert len(await kit.builds()) == 1


def _lanes(count: int) -> list[Lane]:
    return ["fast" if n % 2 else "durable" for n in range(count)]


class TestCoalescing:
    async def test_a_version_during_a_build_makes_one_follow_up(self, kit: LedgerHarness) -> None:
        await kit.put("a")
        await kit.dispatcher().run_once()
        (flow,) = kit.take_runs()
        await flow.begin()
        await flow.read()
        for content in ("b", "c", "d"):
            assert await kit.put(content) == "settling"
        assert (await kit.row())["state"] == "running"
        assert await kit.ledger.claims.claim("two", slots=10, lease=LEASE) == []
        flow.commit()
        await flow.mark()
        row = await kit.row()
        assert (row["state"], row["generation"], row["built_generation"]) == ("pending", 4, 1)
        await flow.end("COMPLETED")
        await kit.settler().run_once()
        assert await kit.cycle() == [True]
        assert await kit.cycle() == []
        assert [(b["generation"], b["state"]) for b in await kit.builds()] == [
            (1, "succeeded"),
            (4, "succeeded"),
        ]
        assert await kit.reasons() == ["fired", "superseded", "superseded", "fired"]
        assert kit.warehouse.silver[HERE] == ((kit.key(), "d"),)

    async def test_bronze_changed_before_it_was_read(self, kit: LedgerHarness) -> None:
        await kit.put("a")
        await kit.dispatcher().run_once()
        (flow,) = kit.take_runs()
        await flow.begin()
        kit.bronze.put(kit.key(), "b")
        assert not await flow.read()
        await kit.settler().run_once()
        assert (await kit.row())["state"] == "pending"
        # The follow-up is made of the listing, before the event has come.
        assert await kit.cycle() == [True]
        assert await kit.tell(kit.arrival(DT, "b")) == ["unchanged"]
        assert [(b["generation"], b["state"]) for b in await kit.builds()] == [
            (1, "superseded"),
            (2, "succeeded"),
        ]

    async def test_paused_accumulates_and_resumes(self, kit: LedgerHarness) -> None:
        await kit.ledger.operators.pause(NAME, "me")
        assert [await kit.put("a"), await kit.put("b")] == ["paused", "paused"]
        assert (await kit.row())["shown_state"] == "paused"
        assert await kit.cycle() == []
        assert await kit.ledger.operators.resume(NAME)
        assert await kit.cycle() == [True]
        assert await kit.reasons() == ["superseded", "fired"]
        assert [b["generation"] for b in await kit.builds()] == [2]

    async def test_pausing_lets_the_running_build_end(self, kit: LedgerHarness) -> None:
        await kit.put("a")
        await kit.dispatcher().run_once()
        (flow,) = kit.take_runs()
        await flow.begin()
        await flow.read()
        await kit.ledger.operators.pause(NAME, "me")
        assert await kit.put("b") == "paused"
        flow.commit()
        await flow.mark()
        await flow.end("COMPLETED")
        assert await kit.cycle() == []
        row = await kit.row()
        assert (row["shown_state"], row["built_generation"]) == ("paused", 1)
        await kit.ledger.operators.resume(NAME)
        assert await kit.cycle() == [True]


class TestSealing:
    async def test_the_manifest_is_the_listing(self, kit: LedgerHarness) -> None:
        await kit.put("a")
        await kit.put("b", file="more.parquet")
        kit.bronze.put(kit.key(file="notes.txt"), "no data")
        sealed = await _seal(kit)
        assert isinstance(sealed, SealedBuild)
        assert (sealed.generation, sealed.attempt) == (2, 1)
        assert sealed.idempotency_key.partition("@")[0] == f"{NAME}/{DT}:2:1"
        (build,) = await kit.builds()
        assert [(f["key"], f["etag"]) for f in build["manifest"]] == [
            (kit.key(), "a"),
            (kit.key(file="more.parquet"), "b"),
        ]

    async def test_a_listing_older_than_an_event_is_taken_again(self, kit: LedgerHarness) -> None:
        await kit.put("a")
        kit.bronze.meanwhile.append(lambda: kit.put("b"))
        assert await kit.cycle() == [True]
        assert [b["generation"] for b in await kit.builds()] == [2]
        assert kit.warehouse.silver[HERE] == ((kit.key(), "b"),)

    async def test_a_folder_that_never_holds_still_waits(self, kit: LedgerHarness) -> None:
        await kit.put("0")
        kit.bronze.meanwhile = [_putter(kit, f"{n}") for n in range(1, 10)]
        assert await kit.dispatcher().run_once() == 0
        row = await kit.row()
        assert row["state"] == "pending"
        assert "changes faster" in row["error"]
        kit.bronze.meanwhile.clear()
        clock.advance(timedelta(seconds=20))
        assert await kit.cycle() == [True]
        assert len(await kit.builds()) == 1, "the claim that was given back left no build"

    async def test_a_listing_that_differs_raises_the_generation(self, kit: LedgerHarness) -> None:
        await kit.put("a")
        kit.bronze.put(kit.key(), "b")
        kit.bronze.put(kit.key(file="more.parquet"), "c")
        sealed = await _seal(kit)
        assert isinstance(sealed, SealedBuild)
        assert sealed.generation == 2
        # Its events come late, and are nothing new any more.
        assert await kit.tell(kit.arrival(DT, "b"), kit.arrival(DT, "c", file="more.parquet")) == [
            "unchanged",
            "unchanged",
        ]

    async def test_a_missing_etag_is_filled_in_without_a_new_generation(
        self, kit: LedgerHarness
    ) -> None:
        kit.bronze.put(kit.key(), "a")
        await kit.tell(kit.arrival(DT, None))
        sealed = await _seal(kit)
        assert isinstance(sealed, SealedBuild)
        assert sealed.generation == 1
        assert await kit.ledger.comparison.etags(kit.datasets.get(NAME), [kit.key()]) == {
            kit.key(): "a"
        }

    async def test_sealing_again_keeps_the_key(self, kit: LedgerHarness) -> None:
        await kit.put("a")
        first = await _seal(kit)
        assert isinstance(first, SealedBuild)
        (own,) = await kit.ledger.claims.own_claims("one")
        listing = await kit.bronze.list_folder(BUCKET, f"{NAME}/")
        assert await kit.ledger.sealing.seal(own, "one", listing, own.generation) == first
        # And under another generation, should one have come, another.
        await kit.put("b")
        listing = await kit.bronze.list_folder(BUCKET, f"{NAME}/")
        again = await kit.ledger.sealing.seal(own, "one", listing, 2)
        assert isinstance(again, SealedBuild)
        assert again.idempotency_key.partition("@")[0] == f"{NAME}/{DT}:2:1"

    async def test_unchanged_needs_no_run(self, kit: LedgerHarness) -> None:
        await kit.put("a")
        await kit.cycle()
        await kit.put("b")
        await kit.put("a", sequencer="later")
        assert await kit.cycle() == []
        row = await kit.row()
        assert (row["state"], row["generation"], row["built_generation"]) == ("built", 3, 3)
        assert row["dirty_since"] is None
        assert await kit.reasons() == ["fired", "unchanged", "unchanged"]

    async def test_a_claim_that_was_taken_over_seals_nothing(self, kit: LedgerHarness) -> None:
        await kit.put("a")
        (claimed,) = await kit.ledger.claims.claim("dead", slots=10, lease=LEASE)
        clock.advance(timedelta(minutes=1))
        assert await kit.ledger.claims.adopt("two", lease=LEASE) == 1
        listing = await kit.bronze.list_folder(BUCKET, f"{NAME}/")
        assert await kit.ledger.sealing.seal(claimed, "dead", listing, 1) == NoBuild(Needless.LOST)
        assert await kit.ledger.sealing.seal(claimed, "dead", [], 1) == NoBuild(Needless.LOST)
        (own,) = await kit.ledger.claims.own_claims("two")
        assert isinstance(await kit.ledger.sealing.seal(own, "two", listing, 1), SealedBuild)


def _putter(kit: LedgerHarness, content: str):
    return lambda: kit.put(content)


class TestReadiness:
    async def test_a_marker_is_waited_for(self, ledger_url: str) -> None:
        kit = await LedgerHarness.open(ledger_url, dataset(ready={"marker": "_SUCCESS"}))
        await kit.put("a")
        row = await kit.row()
        assert (row["state"], row["wait_reason"]) == ("waiting", "no _SUCCESS yet")
        assert await kit.cycle() == []
        await kit.put("", file="_SUCCESS")
        assert await kit.cycle() == [True]
        (build,) = await kit.builds()
        assert [f["key"] for f in build["manifest"]] == [kit.key()], "the marker is no data"
        await kit.close()

    async def test_a_marker_whose_event_was_lost_is_seen_in_the_listing(
        self, ledger_url: str
    ) -> None:
        ready = {"marker": "_SUCCESS", "max_wait": "1h"}
        kit = await LedgerHarness.open(ledger_url, dataset(ready=ready))
        await kit.put("a")
        kit.bronze.put(kit.key(file="_SUCCESS"), "")
        await kit.sweep().run_once()
        assert await kit.cycle() == [True]
        await kit.close()

    async def test_quiet_counts_from_the_last_change(self, ledger_url: str) -> None:
        kit = await LedgerHarness.open(ledger_url, dataset(ready={"quiet": "30s"}))
        await kit.put("a")
        clock.advance(timedelta(seconds=20))
        await kit.put("b", file="more.parquet")
        clock.advance(timedelta(seconds=20))
        assert await kit.cycle() == []
        assert (await kit.row())["wait_reason"] == "quiet for 30 s not reached"
        clock.advance(timedelta(seconds=10))
        assert await kit.cycle() == [True]
        assert [b["generation"] for b in await kit.builds()] == [2]
        await kit.close()

    async def test_quiet_counts_what_only_the_listing_shows(self, ledger_url: str) -> None:
        kit = await LedgerHarness.open(ledger_url, dataset(ready={"quiet": "30s"}))
        await kit.put("a")
        clock.advance(timedelta(seconds=31))
        kit.bronze.put(kit.key(file="more.parquet"), "b")
        assert await kit.cycle() == [], "a file landed just now: its event is still on its way"
        clock.advance(timedelta(seconds=31))
        assert await kit.cycle() == [True]
        await kit.close()

    async def test_max_wait_ends_the_wait(self, ledger_url: str) -> None:
        rules = {"min_files": 3, "max_wait": "10m"}
        kit = await LedgerHarness.open(ledger_url, dataset(ready=rules))
        await kit.put("a")
        clock.advance(timedelta(minutes=5))
        await kit.put("b", file="more.parquet")
        assert (await kit.row())["wait_reason"] == "2 of 3 files"
        assert await kit.cycle() == []
        due = await kit.ledger.upkeep.next_due()
        assert due is not None
        assert abs((due - at(300)).total_seconds()) < 5
        clock.advance(timedelta(minutes=5))
        assert await kit.cycle() == [True]
        await kit.close()

    async def test_a_rebuild_waits_for_no_rule(self, ledger_url: str) -> None:
        kit = await LedgerHarness.open(ledger_url, dataset(ready={"marker": "_SUCCESS"}))
        await kit.put("a")
        assert await kit.ledger.recording.rebuild([HERE]) == [2]
        assert await kit.cycle() == [True]
        await kit.close()


class TestGone:
    async def test_deleted_before_it_was_built(self, kit: LedgerHarness) -> None:
        await kit.put("a")
        kit.bronze.objects.clear()
        assert await kit.cycle() == []
        row = await kit.row()
        assert (row["state"], row["wait_reason"]) == ("waiting", "no file in the folder")
        assert row["gone_at"] is not None
        assert row["dirty_since"] is None, "nobody is late with it"
        assert await kit.reasons() == ["superseded"]
        assert await kit.builds() == []
        # And back, under the same name: built after all.
        kit.bronze.put(kit.key(), "a")
        await kit.tell(kit.arrival(DT, "a", sequencer="later"))
        assert await kit.cycle() == [True]
        assert (await kit.row())["gone_at"] is None

    async def test_a_sweep_sees_what_is_gone(self, kit: LedgerHarness) -> None:
        await kit.put("a")
        await kit.cycle()
        await kit.put("b", days(2)[1])
        await kit.ledger.operators.pause(NAME, "me")
        kit.bronze.objects.clear()
        (result,) = await kit.sweep().run_once()
        assert result.gone == 2
        built, dirty = await kit.row(), await kit.row(days(2)[1])
        assert (built["state"], built["gone_at"] is not None) == ("built", True)
        assert (dirty["state"], dirty["gone_at"] is not None) == ("waiting", True)
        assert await kit.reasons() == ["fired", "superseded"]

    async def test_a_file_less_is_a_new_generation(self, kit: LedgerHarness) -> None:
        await kit.put("a")
        await kit.put("b", file="more.parquet")
        await kit.cycle()
        del kit.bronze.objects[kit.key()]
        await kit.sweep().run_once()
        assert await kit.cycle() == [True]
        assert kit.warehouse.silver[HERE] == ((kit.key(file="more.parquet"), "b"),)
        await kit.sweep().run_once()
        assert await kit.cycle() == []

    async def test_silver_is_emptied_where_the_dataset_says_so(self, ledger_url: str) -> None:
        kit = await LedgerHarness.open(
            ledger_url, dataset(when_gone="remove", ready={"min_files": 1})
        )
        other = days(2)[1]
        await kit.put("a")
        await kit.put("b", other)
        await kit.cycle()
        del kit.bronze.objects[kit.key()]
        await kit.sweep().run_once()
        assert await kit.cycle() == [True]
        row = await kit.row()
        assert kit.warehouse.silver[HERE] == ()
        assert (row["state"], row["gone_at"] is not None, row["built_manifest"]) == (
            "built",
            True,
            [],
        )
        assert (row["generation"], row["built_generation"]) == (2, 2)
        # Once: no sweep and no rebuild finds anything more to remove, the neighbour stays.
        await kit.sweep().run_once()
        await kit.ledger.recording.rebuild([HERE])
        assert await kit.cycle() == []
        assert kit.warehouse.silver[Partition.of_day(NAME, other)] == ((kit.key(other), "b"),)
        # And back, as it was: built anew, for silver holds nothing of it.
        kit.bronze.put(kit.key(), "a")
        await kit.sweep().run_once()
        assert await kit.cycle() == [True]
        assert kit.warehouse.silver[HERE] == ((kit.key(), "a"),)
        assert (await kit.row())["gone_at"] is None
        await kit.close()

    async def test_what_a_build_publishes_while_it_goes_is_emptied_behind_it(
        self, ledger_url: str
    ) -> None:
        kit = await LedgerHarness.open(ledger_url, dataset(when_gone="remove"))
        await kit.put("a")
        await kit.dispatcher().run_once()
        (flow,) = kit.take_runs()
        assert await flow.begin()
        assert await flow.read()
        kit.bronze.objects.clear()
        await kit.sweep().run_once()
        assert flow.commit()
        await flow.mark()
        await flow.end("COMPLETED")
        await kit.settler().run_once()
        assert kit.warehouse.silver[HERE] != ()
        assert await kit.cycle() == [True]
        assert kit.warehouse.silver[HERE] == ()
        await kit.close()

    async def test_silver_stays_by_default(self, kit: LedgerHarness) -> None:
        await kit.put("a")
        await kit.cycle()
        kit.bronze.objects.clear()
        await kit.sweep().run_once()
        assert await kit.cycle() == []
        assert kit.warehouse.silver[HERE] == ((kit.key(), "a"),)
        (member,) = await kit.ledger.gates.members([NAME])
        assert member["state"] == "built", "what is kept does not hold a gate up"

    async def test_an_undone_delete_is_found_each_time(self, kit: LedgerHarness) -> None:
        listed = kit.bronze.put(kit.key(), "a")
        for number in range(3):
            await kit.sweep().run_once()
            await kit.cycle()
            assert (await kit.row())["state"] == "built", number
            assert await kit.ledger.comparison.etags(kit.datasets.get(NAME), [kit.key()]) == {
                kit.key(): "a"
            }
            kit.bronze.objects.clear()
            await kit.sweep().run_once()
            assert (await kit.row())["gone_at"] is not None
            # Same etag, same time: an earlier version that shows again.
            kit.bronze.objects[kit.key()] = replace(listed)


class TestSweep:
    async def test_finds_what_no_event_told_once(self, kit: LedgerHarness) -> None:
        for dt in days(3):
            kit.bronze.put(kit.key(dt), "a")
        results = await together(kit.sweep().run_once(), kit.sweep().run_once())
        assert sum(r.found for (r,) in results) == 3
        assert (await kit.ledger.views.counters())["sweep_found"] == 3
        assert await kit.cycle() == [True] * 3
        (again,) = await kit.sweep().run_once()
        assert (again.found, again.gone) == (0, 0)
        assert await kit.cycle() == []

    async def test_what_has_just_landed_is_left_to_its_lanes(self, kit: LedgerHarness) -> None:
        sweep = kit.sweep()
        told, lost = days(2)
        for dt in (told, lost):
            kit.bronze.put(kit.key(dt), "a")
        (swept,) = await sweep.run_once(settled_for=SETTLED)
        assert (swept.listed, swept.found) == (2, 0)
        await kit.tell(kit.arrival(told, "a", lane="durable"))
        await sweep.look_again()
        assert await kit.ledger.views.partition(Partition.of_day(NAME, lost)) is None, (
            "not before its time"
        )
        clock.advance(SETTLED)
        await sweep.look_again()
        assert (await kit.row(lost))["state"] == "pending"
        assert (await kit.ledger.views.counters())["sweep_found"] == 1
        await sweep.look_again()
        (swept,) = await sweep.run_once(settled_for=SETTLED)
        assert swept.found == 0

    async def test_a_lake_whose_clock_is_ahead_hides_nothing(self, kit: LedgerHarness) -> None:
        listed = kit.bronze.put(kit.key(), "a")
        kit.bronze.objects[kit.key()] = replace(listed, last_modified=at(3600))
        sweep = kit.sweep()
        (swept,) = await sweep.run_once(settled_for=SETTLED)
        assert swept.found == 0
        clock.advance(SETTLED)
        (swept,) = await sweep.run_once(settled_for=SETTLED)
        assert swept.found == 1

    async def test_its_start_finds_all_at_once_and_the_rest_comes_soon(
        self, kit: LedgerHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("quicksilver.roles.sweep.SETTLED", timedelta(seconds=0.05))
        sweep = kit.sweep()
        assert sweep.interval > 60

        async def until_known(dt: date) -> None:
            async with asyncio.timeout(30):
                while True:
                    if await kit.ledger.views.partition(Partition.of_day(NAME, dt)):
                        return
                    await asyncio.sleep(0.01)

        first, second = days(2)
        kit.bronze.put(kit.key(first), "a")
        jobs = [
            Job("sweep", sweep.run_due, sweep.pause, sweep.changed),
            Job("fresh", sweep.look_again, 0.05),
        ]
        running = asyncio.create_task(run_jobs(jobs))
        try:
            await until_known(first)
            kit.bronze.put(kit.key(second), "a")
            # A pass that leaves it out, and none in the whole interval after.
            sweep.ask()
            await until_known(second)
        finally:
            running.cancel()

    async def test_what_was_asked_for_outlives_a_ledger_that_is_away(
        self, kit: LedgerHarness
    ) -> None:
        async def away(*_: object, **__: object) -> None:
            raise LedgerUnavailableError("the ledger is away")

        sweep = kit.sweep()
        await sweep.run_due()
        assert await sweep.pause() > 60, "due by the clock much later"
        sweep.ask()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(kit.ledger.comparison, "kept_objects", away)
            with pytest.raises(LedgerUnavailableError):
                await sweep.run_due()
        assert await sweep.pause() == 0
        assert [result.dataset for result in await sweep.run_due()] == [NAME]
        assert await sweep.run_due() == [], "asked for once"

    async def test_its_finding_and_the_late_event_build_once(self, kit: LedgerHarness) -> None:
        kit.bronze.put(kit.key(), "a")
        await kit.sweep().run_once()
        assert await kit.tell(kit.arrival(DT, "a")) == ["unchanged"]
        assert await kit.cycle() == [True]
        assert await kit.cycle() == []
