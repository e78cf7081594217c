"""How builds end: retries, their limit, rebuilds; what is pruned, quarantine, a long backlog."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import date, timedelta
from typing import TypeVar
from urllib.parse import quote_plus

import pytest

from quicksilver.domain.arrival import Arrival, Lane
from quicksilver.domain.partition import Partition
from quicksilver.operators.explain import explain
from quicksilver.roles.alignment import Alignment
from quicksilver.support import clock
from quicksilver.support.backoff import BUILD_BASE, BUILD_CAP, build_delay
from tests.support.ledger_harness import DT, NAME, FlowRun, LedgerHarness, dataset, days, together

HERE = Partition.of_day(NAME, DT)
T = TypeVar("T")


def batched(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Slices of at most so many (itertools has it from Python 3.12 on)."""
    return (items[start : start + size] for start in range(0, len(items), size))


@pytest.fixture(autouse=True)
def _own_clock() -> Iterator[None]:
    yield
    clock.reset()


@pytest.fixture
async def kit(ledger_url: str) -> AsyncIterator[LedgerHarness]:
    kit = await LedgerHarness.open(ledger_url, dataset(attempts=3))
    yield kit
    await kit.close()


async def _fail(kit: LedgerHarness, why: str = "broken") -> None:
    """Dispatch, begin, fail, settle."""
    assert await kit.dispatcher().run_once() == 1
    (flow,) = kit.take_runs()
    assert await flow.begin()
    await flow.fail(why)
    await kit.settler().run_once()


class TestRetries:
    async def test_backoff_then_failed_with_the_error(self, kit: LedgerHarness) -> None:
        await kit.put("a")
        for attempt in (1, 2):
            await _fail(kit, f"broken {attempt}")
            row = await kit.row()
            assert (row["state"], row["attempts"]) == ("pending", attempt)
            assert row["error"] == f"broken {attempt}"
            full = timedelta(seconds=BUILD_BASE * 2 ** (attempt - 1))
            assert full / 2 - timedelta(seconds=5) < row["due_at"] - clock.now() <= full
            assert await kit.dispatcher().run_once() == 0, "not before its time"
            clock.advance(full)
        await _fail(kit, "broken for good")
        row = await kit.row()
        assert (row["state"], row["attempts"], row["due_at"]) == ("failed", 3, None)
        assert row["error"] == "broken for good"
        clock.advance(timedelta(days=1))
        assert await kit.dispatcher().run_once() == 0
        assert [(b["attempt"], b["state"]) for b in await kit.builds()] == [
            (1, "failed"),
            (2, "failed"),
            (3, "failed"),
        ]
        assert await kit.reasons() == ["failed"]
        assert len(set(kit.prefect.created)) == 3, "each attempt had a key of its own"

    def test_the_wait_doubles_up_to_a_cap_with_jitter(self) -> None:
        for attempt in range(1, 40):
            full = min(BUILD_BASE * 2 ** (attempt - 1), BUILD_CAP)
            waits = [build_delay(attempt).total_seconds() for _ in range(20)]
            assert all(full / 2 <= wait <= full for wait in waits)
            assert len(set(waits)) > 1

    @pytest.mark.parametrize("how", ["version", "rebuild"])
    async def test_starts_afresh(self, kit: LedgerHarness, how: str) -> None:
        await kit.put("a")
        for _ in range(3):
            await _fail(kit)
            clock.advance(timedelta(minutes=1))
        assert (await kit.row())["state"] == "failed"
        if how == "version":
            await kit.put("b")
        else:
            assert await kit.ledger.recording.rebuild([HERE]) == [2]
        row = await kit.row()
        assert (row["state"], row["attempts"], row["error"]) == ("pending", 0, None)
        await _fail(kit)
        assert (await kit.row())["attempts"] == 1
        clock.advance(timedelta(minutes=1))
        assert await kit.cycle() == [True]
        row = await kit.row()
        assert (row["state"], row["built_generation"], row["attempts"]) == ("built", 2, 0)
        assert row["error"] is None

    async def test_a_version_during_the_last_attempt_starts_afresh(
        self, kit: LedgerHarness
    ) -> None:
        await kit.put("a")
        for _ in range(2):
            await _fail(kit)
            clock.advance(timedelta(minutes=1))
        await kit.dispatcher().run_once()
        (flow,) = kit.take_runs()
        await flow.begin()
        await kit.put("b")
        await flow.fail("too late to matter")
        await kit.settler().run_once()
        row = await kit.row()
        assert (row["state"], row["attempts"], row["error"]) == ("pending", 0, None)
        assert await kit.cycle() == [True]

    async def test_a_rebuild_of_what_is_built_builds_once_more(self, kit: LedgerHarness) -> None:
        await kit.put("a")
        await kit.cycle()
        assert await kit.ledger.recording.rebuild(
            [HERE, Partition.of_day(NAME, date(1999, 1, 1))]
        ) == [2]
        assert await kit.cycle() == [True]
        assert await kit.cycle() == []
        assert [b["generation"] for b in await kit.builds()] == [1, 2]

    async def test_a_rebuild_during_a_build_follows_it(self, kit: LedgerHarness) -> None:
        await kit.put("a")
        await kit.dispatcher().run_once()
        (flow,) = kit.take_runs()
        await flow.begin()
        await kit.ledger.recording.rebuild([HERE])
        await flow.read()
        flow.commit()
        await flow.mark()
        await flow.end("COMPLETED")
        await kit.settler().run_once()
        assert await kit.cycle() == [True]
        assert await kit.cycle() == []


class TestReasons:
    async def _use_up(self, kit: LedgerHarness) -> None:
        while (await kit.row())["state"] != "failed":
            await _fail(kit)
            clock.advance(timedelta(minutes=1))

    async def test_every_file_of_a_failed_partition_says_so(self, kit: LedgerHarness) -> None:
        await kit.put("a", file="one.parquet")
        assert await kit.cycle() == [True]
        await kit.put("b", file="two.parquet")
        await kit.put("c", file="three.parquet")
        await self._use_up(kit)
        assert await kit.reasons() == ["fired", "failed", "failed"]

    @pytest.mark.parametrize("how", ["version", "rebuild"])
    async def test_what_failed_stays_so_and_says_what_made_it_good(
        self, kit: LedgerHarness, how: str
    ) -> None:
        await kit.put("a", file="one.parquet")
        await kit.put("b", file="two.parquet")
        await self._use_up(kit)
        if how == "rebuild":
            await kit.ledger.recording.rebuild([HERE])
        else:
            await kit.put("c", file="two.parquet")
        assert (await kit.reasons())[:2] == ["failed", "failed"], "not before silver stands"
        assert await kit.cycle() == [True]
        assert (await kit.reasons())[:2] == ["failed", "failed"]
        told = await explain(kit.ledger, None, kit.key(file="one.parquet"))
        last = (await kit.builds())[-1]["id"]
        assert f"failed, and was made good by build {last}" in told["summary"]
        # A later build leaves what was said of it.
        await kit.put("d", file="two.parquet")
        assert await kit.cycle() == [True]
        events = await kit.ledger.views.events(key=kit.key(file="one.parquet"))
        assert f"build {last}," in events[0]["outcome"]


class TestYields:
    async def _yield(self, kit: LedgerHarness) -> None:
        assert await kit.dispatcher().run_once() == 1
        (flow,) = kit.take_runs()
        assert await flow.begin()
        assert flow.begun is not None
        await kit.ledger.runs.yield_build(flow.begun.id, "not what was listed")
        await flow.end("COMPLETED", "Superseded")
        assert await kit.settler().run_once() == 0

    async def test_bronze_that_contradicts_its_listing_is_not_asked_for_ever(
        self, kit: LedgerHarness
    ) -> None:
        await kit.put("a")
        await self._yield(kit)
        # Once at once: the next listing may show what changed. It shows the same.
        await self._yield(kit)
        row = await kit.row()
        assert (row["state"], row["attempts"]) == ("pending", 2)
        assert await kit.dispatcher().run_once() == 0, "not without a pause"
        clock.advance(timedelta(seconds=BUILD_BASE))
        await self._yield(kit)
        row = await kit.row()
        assert (row["state"], row["due_at"]) == ("failed", None)
        assert "not what was listed; 3 builds met this" in row["error"]
        assert await kit.reasons() == ["failed"]

    async def test_what_is_really_new_is_built_at_once_and_afresh(self, kit: LedgerHarness) -> None:
        await kit.put("a")
        for content in ("b", "c", "d", "e"):
            await self._yield(kit)
            # Nobody told of it: the next listing does.
            kit.bronze.put(kit.key(), content)
        assert await kit.cycle() == [True]
        row = await kit.row()
        assert (row["state"], row["built_generation"], row["attempts"]) == ("built", 5, 0)


class TestVersions:
    async def _told(self, kit: LedgerHarness, version: str | None, lane: Lane = "fast") -> str:
        clock.advance(timedelta(seconds=1))
        event = kit.arrival(DT, "a", version=version, sequencer=version or lane, lane=lane)
        return (await kit.tell(event))[0]

    async def _version(self, kit: LedgerHarness) -> str | None:
        """What the next build of the same content would read."""
        await kit.ledger.recording.rebuild([HERE])
        assert await kit.cycle() == [True]
        ((version,),) = await kit.fetch(
            "select manifest -> 0 ->> 'version' from quicksilver.build order by id desc limit 1"
        )
        return version

    async def test_the_same_content_under_another_version_is_read_there(
        self, kit: LedgerHarness
    ) -> None:
        kit.bronze.put(kit.key(), "a")
        assert await self._told(kit, "v1") == "settling"
        assert await kit.cycle() == [True]
        assert await self._told(kit, "v2") == "unchanged"
        assert (await kit.row())["generation"] == 1
        assert await self._version(kit) == "v2"

    async def test_an_older_version_that_comes_late_changes_nothing(
        self, kit: LedgerHarness
    ) -> None:
        kit.bronze.put(kit.key(), "a")
        clock.advance(timedelta(seconds=2))
        late = kit.arrival(DT, "a", version="v1")
        assert await self._told(kit, "v2") == "settling"
        assert await kit.tell(late) == ["unchanged"]
        assert await self._version(kit) == "v2"

    async def test_a_batch_in_any_order_leaves_the_newest(self, kit: LedgerHarness) -> None:
        kit.bronze.put(kit.key(), "a")
        assert await self._told(kit, "v1") == "settling"
        several: list[Arrival] = []
        for version in ("v2", "v3"):
            clock.advance(timedelta(seconds=1))
            several.append(kit.arrival(DT, "a", version=version, sequencer=version))
        assert await kit.tell(*several[::-1]) == ["unchanged"] * 2
        assert await self._version(kit) == "v3"


class TestUpkeep:
    async def test_pruning_frees_no_generation(self, kit: LedgerHarness) -> None:
        await kit.put("a")
        await kit.cycle()
        await kit.ledger.operators.pause(NAME, "me")
        await kit.put("b")
        clock.advance(timedelta(days=31))
        # The event, and the manifest of its build, which ended long ago.
        assert await kit.ledger.upkeep.prune(keep=timedelta(days=30)) == 2
        assert (await kit.builds())[0]["manifest"] is None
        assert await kit.reasons() == ["paused"], "what is undecided stays"
        await kit.ledger.operators.resume(NAME)
        await kit.cycle()
        await kit.ledger.upkeep.prune(keep=timedelta(0))
        assert await kit.reasons() == []
        # The very first event once more, forgotten by now: dirty again, and unchanged.
        assert await kit.tell(kit.arrival(DT, "b")) == ["unchanged"]
        assert await kit.tell(kit.arrival(DT, "a")) == ["settling"]
        assert await kit.cycle() == []
        row = await kit.row()
        assert (row["state"], row["built_generation"]) == ("built", row["generation"])
        assert row["generation"] > 2
        assert [b["generation"] for b in await kit.builds()] == [1, 2]

    async def test_pruning_goes_in_bounded_bites(self, kit: LedgerHarness) -> None:
        for batch in batched(range(10_100), 2000):
            await kit.tell(*(kit.arrival(DT, "x", file=f"{n}.txt") for n in batch))
        assert [await kit.ledger.upkeep.prune(keep=timedelta(0)) for _ in range(3)] == [
            10_000,
            100,
            0,
        ]

    async def test_quarantine_is_bounded_and_counts_what_it_drops(self, kit: LedgerHarness) -> None:
        for number in range(8):
            await _quarantine(kit, b"%d" % number + b"x" * 99)
            clock.advance(timedelta(seconds=1))
        rows = await kit.ledger.quarantine.list()
        assert len(rows) == 5
        assert (await kit.ledger.views.counters())["quarantine_dropped"] == 3
        # One large body pushes out those that no longer fit beside it.
        await _quarantine(kit, b"y" * 800)
        assert [row["size"] for row in await kit.ledger.quarantine.list()] == [800, 100, 100]
        assert (await kit.ledger.views.counters())["quarantine_dropped"] == 6
        # And one that fits nowhere is counted too.
        await _quarantine(kit, b"z" * 2000)
        assert (await kit.ledger.views.counters())["quarantine_dropped"] > 6

    async def test_the_same_body_again_only_counts(self, kit: LedgerHarness) -> None:
        body = b"\x00\xff not text"
        ids = {await _quarantine(kit, body) for _ in range(3)}
        assert len(ids) == 1
        row = await kit.ledger.quarantine.body(ids.pop())
        assert row is not None
        assert (bytes(row["body"]), row["count"]) == (body, 3)
        assert await kit.ledger.quarantine.discard(row["id"])
        assert not await kit.ledger.quarantine.discard(row["id"])

    async def test_a_key_is_found_in_quarantine_and_explained(self, kit: LedgerHarness) -> None:
        key = kit.key(file="a & é.parquet")
        body = json.dumps({"Records": [{"s3": {"object": {"key": quote_plus(key)}}}]}).encode()
        row = await _quarantine(kit, body)
        await _quarantine(kit, b"another")
        found = await kit.ledger.quarantine.list(key=key)
        assert [(r["id"], r["reason"]) for r in found] == [(row, "quarantined:not-json")]
        assert len(await kit.ledger.quarantine.list()) == 2
        told = await explain(kit.ledger, None, f"s3://lake/{key}")
        assert told["summary"].startswith(f"{key}: quarantined:not-json. It is not JSON")
        assert told["summary"].endswith(f"`quicksilver quarantine show` {row}")
        assert (await explain(kit.ledger, None, "elsewhere"))["quarantined"] == []

    async def test_a_duplicate_is_an_event_that_came_again(self, kit: LedgerHarness) -> None:
        await kit.put("a")
        assert await kit.ledger.views.events(reason="duplicate") == []
        assert await kit.tell(kit.arrival(DT, "a", lane="durable")) == ["duplicate"]
        await kit.put("b", days(2)[1])
        (again,) = await kit.ledger.views.events(reason="duplicate")
        assert (again["partition"], again["deliveries"], again["reason"]) == (
            str(DT),
            2,
            "settling",
        )

    async def test_dispatchers_that_are_gone_are_forgotten(self, kit: LedgerHarness) -> None:
        await kit.ledger.upkeep.beat("one")
        assert await kit.ledger.upkeep.dispatchers_alive(within=timedelta(seconds=30)) == 1
        clock.advance(timedelta(seconds=31))
        assert await kit.ledger.upkeep.dispatchers_alive(within=timedelta(seconds=30)) == 0


async def _quarantine(kit: LedgerHarness, body: bytes) -> int:
    return await kit.ledger.quarantine.add(
        body, reason="not-json", lane="fast", source="127.0.0.1", max_rows=5, max_bytes=1000
    )


async def test_a_ledger_made_anew_builds_past_the_warehouse_fences(kit: LedgerHarness) -> None:
    kit.warehouse.holder[HERE] = 1000
    kit.warehouse.published[1000] = {}
    await kit.put("a")
    assert await kit.cycle() == [False], "fenced: the warehouse takes its id for an old one"
    await Alignment(kit.ledger, kit.warehouse).run_once()
    clock.advance(timedelta(minutes=1))
    assert await kit.cycle() == [True]
    await Alignment(kit.ledger, kit.warehouse).run_once()
    assert [b["id"] for b in await kit.builds()] == [1, 1001]


async def test_a_day_down_drains_in_order_a_few_at_a_time(ledger_url: str) -> None:
    slots, partitions = 100, 5000 if os.environ.get("CHAOS") else 1000
    kit = await LedgerHarness.open(ledger_url, max_running=slots)
    # What is measured is the order, not the disk.
    name = ledger_url.rpartition("/")[2]
    await kit.fetch(f'alter database "{name}" set synchronous_commit = off')
    await kit.close()
    kit = await LedgerHarness.open(ledger_url, max_running=slots)
    backlog = days(partitions)
    for batch in batched(backlog, 500):
        await kit.tell(*(_told(kit, dt) for dt in batch))
    dispatchers = kit.dispatcher("one"), kit.dispatcher("two")
    settler = kit.settler()
    built = 0
    while built < len(backlog):
        await together(*(d.run_once() for d in dispatchers))
        flows = kit.take_runs()
        assert 0 < len(flows) <= slots
        for some in batched(flows, 8):
            await together(*(_through(flow) for flow in some))
        assert await settler.run_once() == 0
        built += len(flows)
    assert kit.prefect.most_in_flight <= slots
    order = [date.fromisoformat(key.partition("/")[2].partition(":")[0]) for key in _created(kit)]
    place = {dt: n for n, dt in enumerate(backlog)}
    # Within a claim two dispatchers overtake each other; between claims nobody does.
    assert all(abs(place[dt] - n) < slots for n, dt in enumerate(order))
    assert len(order) == len(set(order)) == len(backlog)
    (counts,) = await kit.ledger.views.state_counts()
    assert (counts["shown_state"], counts["partitions"]) == ("built", partitions)
    await kit.close()


def _created(kit: LedgerHarness) -> list[str]:
    return kit.prefect.created


def _told(kit: LedgerHarness, dt: date):
    kit.bronze.put(kit.key(dt), "a")
    clock.advance(timedelta(milliseconds=1))
    return kit.arrival(dt, "a")


async def _through(flow: FlowRun) -> None:
    """A run's way through the ledger alone."""
    kit = flow.kit
    (begun,) = await kit.ledger.runs.begin(flow.key, flow.id, time_limit=kit.time_limit)
    await kit.ledger.runs.publish(
        begun.id, rows_bronze=1, rows_silver=1, rows_rejected=0, loaded_at=None, details={}
    )
    kit.prefect.set_state(flow.id, "COMPLETED")
