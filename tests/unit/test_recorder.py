"""Group commit: many callers, few transactions, and nobody suffers from a neighbour."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

import psycopg
import pytest

from quicksilver.domain.arrival import Arrival
from quicksilver.errors import LedgerUnavailableError
from quicksilver.intake import group_commit as module
from quicksilver.intake.group_commit import REFUSED, Recorder
from quicksilver.ledger import Ledger
from tests.unit.test_intake import EVENT, arrival

Fault = Callable[[Sequence[Arrival]], None]


class FakeLedger:
    """Keeps what it is told; `hold` stops it before a commit, `fault` makes one fail."""

    def __init__(self, fault: Fault | None = None) -> None:
        self.recording = self
        self.commits: list[list[str]] = []
        self.hold = asyncio.Event()
        self.hold.set()
        self.begun = asyncio.Event()
        self.fault = fault

    async def record(self, arrivals: Sequence[Arrival]) -> list[str]:
        self.begun.set()
        await self.hold.wait()
        if self.fault:
            self.fault(arrivals)
        self.commits.append([a.event.key for a in arrivals])
        return [f"settling:{a.event.key}" for a in arrivals]


def one(key: str) -> Arrival:
    return replace(arrival(), event=replace(EVENT, key=key))


def recorder_of(ledger: FakeLedger) -> Recorder:
    return Recorder(cast("Ledger", ledger))


async def behind_a_slow_commit(
    ledger: FakeLedger, recorder: Recorder, requests: list[list[Arrival]]
) -> list[asyncio.Task[list[str]]]:
    """Requests that arrive while another commit is under way; it is released last."""
    ledger.hold.clear()
    first = asyncio.create_task(recorder.record([one("first")]))
    await ledger.begun.wait()
    tasks = [asyncio.create_task(recorder.record(arrivals)) for arrivals in requests]
    await asyncio.sleep(0)
    ledger.hold.set()
    await first
    return tasks


async def test_one_commit_serves_all_that_came_meanwhile() -> None:
    ledger = FakeLedger()
    recorder = recorder_of(ledger)
    requests = [[one(f"{n}-a"), one(f"{n}-b")] for n in range(50)]
    answers = await asyncio.gather(*await behind_a_slow_commit(ledger, recorder, requests))
    assert len(ledger.commits) == 2
    # Each caller gets its own reasons, in its own order.
    assert answers == [[f"settling:{n}-a", f"settling:{n}-b"] for n in range(50)]


async def test_commits_are_bounded() -> None:
    ledger = FakeLedger()
    recorder = recorder_of(ledger)
    requests = [[one(f"{n}")] * 100 for n in range(12)]
    await asyncio.gather(*await behind_a_slow_commit(ledger, recorder, requests))
    assert [len(commit) for commit in ledger.commits] == [1, 500, 500, 200]


async def test_a_body_larger_than_a_commit_is_taken_alone() -> None:
    ledger = FakeLedger()
    answers = await recorder_of(ledger).record([one("big")] * 25_000)
    assert len(answers) == 25_000


async def test_nothing_is_no_commit() -> None:
    ledger = FakeLedger()
    assert await recorder_of(ledger).record([]) == []
    assert ledger.commits == []


@pytest.mark.parametrize(
    "error",
    [
        psycopg.DataError("invalid byte sequence"),
        psycopg.errors.CheckViolation("check"),
        ValueError("no such value"),
        UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
        KeyError("a bug"),
        TypeError("a bug"),
    ],
)
async def test_one_that_cannot_be_recorded_hurts_no_neighbour(error: Exception) -> None:
    def fault(arrivals: Sequence[Arrival]) -> None:
        if any(a.event.key == "poison" for a in arrivals):
            raise error

    ledger = FakeLedger(fault)
    recorder = recorder_of(ledger)
    requests = [[one("a")], [one("b"), one("poison"), one("c")], [one("d")], [one("poison")]]
    answers = await asyncio.gather(*await behind_a_slow_commit(ledger, recorder, requests))
    assert answers == [
        ["settling:a"],
        ["settling:b", REFUSED, "settling:c"],
        ["settling:d"],
        [REFUSED],
    ]
    assert await recorder.record([one("next")]) == ["settling:next"]


@pytest.mark.parametrize(
    "error",
    [
        LedgerUnavailableError("away"),
        psycopg.errors.UndefinedTable("no such table"),
        psycopg.errors.InsufficientPrivilege("denied"),
    ],
)
async def test_a_ledger_that_is_away_acknowledges_nobody(error: Exception) -> None:
    is_away = True

    def fault(arrivals: Sequence[Arrival]) -> None:
        if is_away:
            raise error

    ledger = FakeLedger(fault)
    recorder = recorder_of(ledger)
    requests = [[one("a")], [one("b"), one("c")]]
    ledger.hold.clear()
    tasks = [asyncio.create_task(recorder.record(arrivals)) for arrivals in requests]
    await ledger.begun.wait()
    ledger.hold.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [LedgerUnavailableError] * 2
    assert ledger.commits == []
    is_away = False
    assert await recorder.record([one("a")]) == ["settling:a"]


async def test_a_ledger_that_goes_away_while_poison_is_sorted_out() -> None:
    def fault(arrivals: Sequence[Arrival]) -> None:
        if len(arrivals) > 1:
            raise ValueError("poison inside")
        if arrivals[0].event.key == "b":
            raise LedgerUnavailableError("away")

    recorder = recorder_of(FakeLedger(fault))
    with pytest.raises(LedgerUnavailableError):
        await recorder.record([one("a"), one("b"), one("c")])


async def test_a_caller_that_gives_up_takes_nobody_with_it() -> None:
    ledger = FakeLedger()
    recorder = recorder_of(ledger)
    ledger.hold.clear()
    gone = asyncio.create_task(recorder.record([one("gone")]))
    await ledger.begun.wait()
    waiting = [asyncio.create_task(recorder.record([one(key)])) for key in ("x", "gone too", "y")]
    await asyncio.sleep(0)
    gone.cancel()
    waiting[1].cancel()
    await asyncio.sleep(0)
    ledger.hold.set()
    assert await waiting[0] == ["settling:x"]
    assert await waiting[2] == ["settling:y"]
    # What was authentic is kept, though nobody waits for the answer.
    assert ledger.commits == [["gone"], ["x", "gone too", "y"]]


async def test_too_many_waiting_are_refused_and_the_queue_drains(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_WAITING", 10)
    ledger = FakeLedger()
    recorder = recorder_of(ledger)
    ledger.hold.clear()
    tasks = [asyncio.create_task(recorder.record([one(f"{n}")])) for n in range(10)]
    await ledger.begun.wait()
    with pytest.raises(LedgerUnavailableError, match="too many"):
        await recorder.record([one("late")])
    ledger.hold.set()
    await asyncio.gather(*tasks)
    assert await recorder.record([one("late")]) == ["settling:late"]


async def test_closing_waits_for_the_commit_under_way() -> None:
    ledger = FakeLedger()
    recorder = recorder_of(ledger)
    await recorder.close()
    ledger.hold.clear()
    task = asyncio.create_task(recorder.record([one("last")]))
    await ledger.begun.wait()
    closing = asyncio.create_task(recorder.close())
    await asyncio.sleep(0)
    assert not closing.done()
    ledger.hold.set()
    await closing
    assert await task == ["settling:last"]
