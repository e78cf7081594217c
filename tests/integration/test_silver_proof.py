"""Silver is proved, not assumed: backups restored on either side, and a table that was emptied."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from quicksilver.domain.partition import Partition
from quicksilver.roles.silver_proof import SilverProof
from tests.support.ledger_harness import DT, NAME, LedgerHarness, days

HERE = Partition(NAME, DT.isoformat())
THERE = Partition(NAME, days(2)[1].isoformat())


@pytest.fixture
async def kit(ledger_url: str) -> AsyncIterator[LedgerHarness]:
    """Two partitions that are built, each with two builds."""
    kit = await LedgerHarness.open(ledger_url)
    for content in ("a", "b"):
        for dt in days(2):
            await kit.put(content, dt)
        assert await kit.cycle() == [True, True]
    yield kit
    await kit.close()


async def _alert(kit: LedgerHarness) -> str:
    (alert,) = await kit.ledger.notices.alerts()
    assert (alert["kind"], alert["subject"]) == ("silver", NAME)
    return alert["text"]


async def _mended(kit: LedgerHarness, proof: SilverProof, *partitions: Partition) -> None:
    """They are dirty, are built anew, and differ no more."""
    active = await kit.ledger.views.partitions(dataset=NAME, state="pending")
    assert [row["partition"] for row in active] == [p.name for p in partitions]
    assert await kit.cycle() == [True] * len(partitions)
    assert await proof.run_once() == {}
    assert await kit.ledger.notices.alerts() == []


async def test_all_is_well(kit: LedgerHarness) -> None:
    assert await SilverProof(kit.ledger, kit.warehouse).run_once() == {}


async def test_a_warehouse_from_an_older_backup(kit: LedgerHarness) -> None:
    kit.warehouse.history = [one for one in kit.warehouse.history if one[:2] != (HERE, 2)]
    proof = SilverProof(kit.ledger, kit.warehouse)
    found = await proof.run_once()
    assert list(found) == [HERE]
    assert "the warehouse holds build 1, the ledger says 3" in await _alert(kit)
    await _mended(kit, proof, HERE)


async def test_a_warehouse_made_anew(kit: LedgerHarness) -> None:
    kit.warehouse.history.clear()
    proof = SilverProof(kit.ledger, kit.warehouse)
    assert list(await proof.run_once()) == [HERE, THERE]
    assert "2 partitions of trips" in await _alert(kit)
    await _mended(kit, proof, HERE, THERE)


async def test_a_table_that_somebody_truncated(kit: LedgerHarness) -> None:
    del kit.warehouse.silver[THERE]
    proof = SilverProof(kit.ledger, kit.warehouse)
    assert await proof.run_once() == {THERE: "silver.trips is empty"}
    assert THERE.name in await _alert(kit)
    await _mended(kit, proof, THERE)


async def test_a_ledger_from_an_older_backup(kit: LedgerHarness) -> None:
    await kit.fetch("delete from quicksilver.build where partition = %s and id > 2", HERE.name)
    proof = SilverProof(kit.ledger, kit.warehouse)
    found = await proof.run_once()
    assert found == {HERE: "the warehouse holds build 3, which the ledger does not know"}
    await _mended(kit, proof, HERE)


async def test_what_is_dirty_anyway_is_left_to_its_build(kit: LedgerHarness) -> None:
    kit.warehouse.history.clear()
    await kit.put("c")
    assert list(await SilverProof(kit.ledger, kit.warehouse).run_once()) == [THERE]
