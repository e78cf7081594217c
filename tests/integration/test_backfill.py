"""Backfill on a real ledger: once each, in its order, resumed, and behind what lands meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import date, timedelta
from typing import Any

import pytest

from quicksilver.domain.partition import Partition
from quicksilver.errors import LedgerUnavailableError, QuicksilverError
from quicksilver.operators import backfill
from quicksilver.operators.backfill import Backfill
from quicksilver.support import clock
from tests.support.ledger_harness import NAME, LedgerHarness

MONTHS = [date(2019, month, 1) for month in range(1, 13)]


@pytest.fixture(autouse=True)
def _own_clock() -> Iterator[None]:
    yield
    clock.reset()


@pytest.fixture
async def kit(ledger_url: str) -> AsyncIterator[LedgerHarness]:
    """A year in bronze of which no event ever told, and the months around it."""
    kit = await LedgerHarness.open(ledger_url, max_running=4)
    for month in (date(2018, 12, 1), *MONTHS, date(2020, 1, 1)):
        kit.bronze.put(kit.key(month), "a")
    yield kit
    await kit.close()


async def schedule(kit: LedgerHarness, **how: Any) -> Backfill:
    declared = kit.datasets.get(NAME)
    return await backfill.schedule(
        kit.ledger, kit.bronze, declared, MONTHS[0], date(2019, 12, 31), **how
    )


async def claimed(kit: LedgerHarness, slots: int) -> list[date]:
    claims = await kit.ledger.claims.claim("test", slots=slots, lease=timedelta(seconds=30))
    return [claim.partition.dt for claim in claims]


async def work_off(kit: LedgerHarness) -> int:
    """Build until nothing is left; how many builds that took."""
    built = 0
    while done := await kit.cycle():
        built += len(done)
    return built


async def test_a_year_twice_is_twelve_builds(kit: LedgerHarness) -> None:
    plan = await schedule(kit)
    assert [partition.dt for partition in plan.partitions] == MONTHS
    assert (plan.scheduled, plan.skipped) == (12, 0)
    assert await work_off(kit) == 12
    again = await schedule(kit)
    assert (again.scheduled, again.skipped) == (0, 12)
    assert await kit.cycle() == []
    looks = [look async for look in backfill.watch(kit.ledger, NAME, MONTHS[0], MONTHS[-1])]
    ((ended, seen),) = looks
    assert ended == 12
    assert (seen["partitions"], seen["failed"]) == ({"built": 12}, [])
    assert {row["dt"] for row in await kit.ledger.views.partitions(limit=100)} == set(MONTHS)
    # Unless it is asked for.
    assert (await schedule(kit, rebuild=True)).scheduled == 12
    assert await work_off(kit) == 12


async def test_what_was_interrupted_goes_on_and_nothing_is_doubled(
    kit: LedgerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "_PAGE", 5)
    record = kit.ledger.recording.record
    pages: list[int] = []

    async def dies_at_the_second_page(arrivals: Any, *, priority: int = 0) -> list[str]:
        pages.append(len(arrivals))
        if len(pages) == 2:
            raise LedgerUnavailableError("the backfill was killed here")
        return await record(arrivals, priority=priority)

    monkeypatch.setattr(kit.ledger.recording, "record", dies_at_the_second_page)
    with pytest.raises(LedgerUnavailableError):
        await schedule(kit)
    # What was scheduled is built by itself; four of it, then somebody calls again.
    assert await kit.cycle() == [True] * 4
    plan = await schedule(kit)
    assert (plan.scheduled, plan.skipped) == (7, 5)
    plan = await schedule(kit)
    assert (plan.scheduled, plan.skipped) == (0, 12)
    assert await work_off(kit) == 8
    for month in MONTHS:
        assert len(await kit.builds(month)) == 1
        assert (await kit.row(month))["generation"] == 1


@pytest.mark.parametrize("newest_first", [False, True])
async def test_the_order_is_the_one_asked_for(kit: LedgerHarness, newest_first: bool) -> None:
    await schedule(kit, newest_first=newest_first)
    order = MONTHS[::-1] if newest_first else MONTHS
    assert [dt for _ in range(3) for dt in await claimed(kit, 100)] == order
    assert await kit.ledger.views.partitions(names=["2018-12-01", "2020-01-01"]) == []


async def test_what_lands_meanwhile_is_built_before_the_rest(kit: LedgerHarness) -> None:
    await schedule(kit)
    assert await claimed(kit, 4) == MONTHS[:4]
    clock.advance(timedelta(minutes=5))
    live = date(2024, 5, 1)
    await kit.put("live", live)
    assert await claimed(kit, 5) == [live]
    # One of the backfill's own, too, once something new lands in it.
    await kit.put("live", MONTHS[10])
    assert await claimed(kit, 7) == [MONTHS[10], MONTHS[4]]


async def test_a_forced_backfill_does_not_send_live_events_back(kit: LedgerHarness) -> None:
    await schedule(kit)
    await work_off(kit)
    await kit.put("live", MONTHS[11])
    await schedule(kit, rebuild=True)
    assert (await claimed(kit, 2)) == [MONTHS[11], MONTHS[0]]


async def test_a_range_of_nothing_is_said(kit: LedgerHarness) -> None:
    declared = kit.datasets.get(NAME)
    with pytest.raises(QuicksilverError, match="bronze holds nothing of trips from 1999-01-01"):
        await backfill.schedule(
            kit.ledger, kit.bronze, declared, date(1999, 1, 1), date(1999, 12, 31)
        )
    with pytest.raises(QuicksilverError, match="upside down"):
        await backfill.schedule(kit.ledger, kit.bronze, declared, MONTHS[1], MONTHS[0])
    assert await kit.ledger.views.partition(Partition.of_day(NAME, MONTHS[0])) is None
