"""Partitions are found as people look for them: trouble first, by name, date, key or run."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import date

import pytest
from typer.testing import CliRunner

from quicksilver.cli.main import app
from quicksilver.domain.partition import Partition
from quicksilver.operators.actions import Actions
from quicksilver.operators.condition import condition
from tests.support.ledger_harness import DT, NAME, LedgerHarness, days


@pytest.fixture
async def kit(ledger_url: str) -> AsyncIterator[LedgerHarness]:
    """Five partitions: the second failed, the third is built, the others wait for their turn."""
    opened = await LedgerHarness.open(ledger_url)
    for dt in days(5):
        await opened.put("v1", dt)
    await opened.fetch(
        "update quicksilver.partition set state = 'failed', error = 'no column id' where dt = %s",
        days(5)[1],
    )
    await opened.fetch(
        "update quicksilver.partition set state = 'built', built_generation = 1 where dt = %s",
        days(5)[2],
    )
    yield opened
    await opened.close()


async def names(kit: LedgerHarness, **asked: object) -> list[date]:
    """The dates that are found, in order."""
    rows = await kit.ledger.finding.partitions(**asked)  # pyright: ignore[reportArgumentType]
    return [row["dt"] for row in rows]


async def test_trouble_comes_first_then_the_newest(kit: LedgerHarness) -> None:
    one, two, three, four, five = days(5)
    assert await names(kit) == [two, five, four, one, three]
    assert await names(kit, limit=2) == [two, five]
    assert await names(kit, skip=3) == [one, three]
    assert (await kit.ledger.finding.partitions(limit=1))[0]["found"] == 5


async def test_filters_combine(kit: LedgerHarness) -> None:
    one, two, _, four, five = days(5)
    assert await names(kit, states=["failed"]) == [two]
    assert await names(kit, first=four) == [five, four]
    assert await names(kit, last=one) == [one]
    assert await names(kit, text=f"dt={four}/data") == [four]
    assert await names(kit, text=str(five)) == [five]
    assert await names(kit, text="nowhere") == []
    assert await names(kit, dataset="no.such") == []


async def test_a_run_finds_its_partition(kit: LedgerHarness) -> None:
    await kit.dispatcher().run_once()
    builds = await kit.builds(DT)
    run = str(builds[-1]["flow_run_id"])
    assert await names(kit, text=run[:13]) == [DT]


async def test_every_list_knows_who_has_a_build_and_what_it_warned_of(kit: LedgerHarness) -> None:
    """The finer word is the same wherever a partition is read."""
    await kit.dispatcher().run_once()
    await kit.fetch(
        'update quicksilver.build set details = \'{"warnings": ["a", "b"]}\' where partition = %s',
        str(DT),
    )
    found = {row["dt"]: row for row in await kit.ledger.finding.partitions()}
    listed = {row["dt"]: row for row in await kit.ledger.views.partitions()}
    assert found[DT]["build_state"] == listed[DT]["build_state"] == "dispatched"
    assert found[DT]["warnings"] == listed[DT]["warnings"] == 2
    assert found[days(5)[1]]["build_state"] is None
    assert {dt: condition(row) for dt, row in found.items()} == {
        dt: condition(row) for dt, row in listed.items()
    }
    assert condition(found[DT]).detail == "queued"


async def test_a_bulk_rebuild_is_logged_in_one_commit(kit: LedgerHarness) -> None:
    asked = [Partition.of_day(NAME, dt) for dt in days(3)]
    await Actions(kit.ledger, "anna").rebuild_many(asked)
    rows = await kit.fetch("select xmin::text, subject from quicksilver.action order by id")
    assert [subject for _, subject in rows] == [str(partition) for partition in asked]
    assert len({commit for commit, _ in rows}) == 1


async def test_the_command_line_shows_one_whole(
    kit: LedgerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUICKSILVER_DATABASE_URL", kit.url)
    unknown = await asyncio.to_thread(CliRunner().invoke, app, ["status", "--dataset", "no.such"])
    assert unknown.exit_code == 3
    done = await asyncio.to_thread(CliRunner().invoke, app, ["status", "--json", "--limit", "1"])
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert answer["partitions"][0]["detail"] == "failed"
    assert answer["parts"][0]["name"] == "service"
