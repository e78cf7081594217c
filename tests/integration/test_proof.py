"""Proof that nothing was lost: bronze, ledger and silver compared, and who told of what."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from quicksilver.domain.arrival import Lane
from quicksilver.domain.datasets import load_datasets
from quicksilver.domain.event import ObjectEvent
from quicksilver.ledger import Ledger
from quicksilver.ledger.listener import LedgerListener
from quicksilver.support import clock
from quicksilver.support.postgres import Database
from tests.support.checkout import PROJECT
from tests.support.declared import arrive

NAME = "nyc_tlc.yellow_tripdata"


@pytest.fixture
async def ledger(ledger_url: str, tmp_path: Path) -> AsyncIterator[Ledger]:
    """A fresh ledger with the project's own dataset."""
    database = Database(ledger_url)
    await database.open()
    ledger = Ledger(database, load_datasets(PROJECT / "datasets.yaml"))
    await ledger.upkeep.sync_datasets()
    yield ledger
    await database.close()
    clock.reset()


async def tell(ledger: Ledger, dt: str, etag: str, lane: Lane, name: str = "Put") -> str:
    """One event of one object; its reason code."""
    dataset = ledger.datasets.get(NAME)
    event = ObjectEvent(
        name=f"ObjectCreated:{name}",
        bucket=dataset.bucket,
        key=f"bronze/nyc_tlc/yellow_tripdata/dt={dt}/data.parquet",
        etag=etag,
        version_id=None,
        size=1,
        sequencer=etag if name == "Put" else clock.now().isoformat(),
        event_at=clock.now() - timedelta(seconds=2 if lane == "durable" else 0.01),
    )
    arrival = arrive(event, ledger.datasets, lane, "127.0.0.1", clock.now())
    return (await ledger.recording.record([arrival]))[0]


async def test_before_the_first_sweep_nothing_is_claimed(ledger: Ledger) -> None:
    await tell(ledger, "2024-01-01", "a", "fast")
    (row,) = [row for row in await ledger.proof.compare() if row["dataset"] == NAME]
    assert (row["compared_at"], row["in_bronze"]) == (None, None)
    assert (row["in_ledger"], row["built"], row["unbuilt"]) == (1, 0, 1)
    assert (row["unknown"], row["missing"], row["newer"]) == (0, 0, 0)


async def test_differences_are_named(ledger: Ledger) -> None:
    for month in (1, 2):
        await tell(ledger, f"2024-{month:02d}-01", "a", "fast")
    clock.advance(timedelta(minutes=1))
    # Seen by the sweep: January, and March that nobody told of; February is not listed.
    await ledger.proof.record_sweep(
        NAME,
        clock.now(),
        listed=2,
        found=1,
        gone=0,
        names=["2024-01-01", "2024-03-01", "2024-03-01"],
    )
    clock.advance(timedelta(minutes=1))
    await tell(ledger, "2024-04-01", "a", "fast")
    (row,) = [row for row in await ledger.proof.compare() if row["dataset"] == NAME]
    assert (row["in_bronze"], row["in_ledger"], row["built"]) == (2, 3, 0)
    assert row["unknown_names"] == ["2024-03-01"]
    assert row["missing_names"] == ["2024-02-01"]
    assert row["newer_names"] == ["2024-04-01"]
    assert row["unbuilt"] == 3
    assert (row["objects_listed"], row["objects_found"]) == (2, 1)


async def test_the_newest_sweep_counts_and_old_ones_go(ledger: Ledger) -> None:
    for days in (0, 20, 20):
        clock.advance(timedelta(days=days))
        await ledger.proof.record_sweep(
            NAME, clock.now(), listed=days, found=0, gone=0, names=["2024-01-01"]
        )
    (row,) = [row for row in await ledger.proof.compare() if row["dataset"] == NAME]
    assert (row["objects_listed"], row["in_bronze"], row["unknown"]) == (20, 1, 1)
    async with ledger.database.transaction() as tx:
        connection = tx._connection  # pyright: ignore[reportPrivateUsage]
        kept = await (
            await connection.execute("select names from quicksilver.sweep order by id")
        ).fetchall()
    assert [r["names"] for r in kept] == [[], ["2024-01-01"]]


async def test_origins_count_each_version_once(ledger: Ledger) -> None:
    await tell(ledger, "2024-01-01", "a", "fast")
    await tell(ledger, "2024-01-01", "a", "durable")
    await tell(ledger, "2024-02-01", "b", "durable")
    await tell(ledger, "2024-03-01", "c", "sweep", "Listed")
    # The sweep was first, and an event came after all: push lost nothing.
    await tell(ledger, "2024-04-01", "d", "sweep", "Listed")
    assert await tell(ledger, "2024-04-01", "d", "durable") == "unchanged"
    await tell(ledger, "2024-05-01", "e", "poll", "Listed")
    await tell(ledger, "2024-06-01", "f", "push")
    (row,) = await ledger.proof.origins()
    assert dict(row) == {
        "dataset": NAME,
        "objects": 6,
        "fast": 1,
        "only_durable": 2,
        "only_sweep": 1,
        "only_poll": 1,
        "otherwise": 1,
    }


async def test_lanes_are_measured_apart(ledger: Ledger) -> None:
    empty = await ledger.proof.lanes()
    assert (empty["events"], empty["fast_median"], empty["durable_p95"]) == (0, None, None)
    await tell(ledger, "2024-01-01", "a", "fast")
    await tell(ledger, "2024-01-01", "a", "durable")
    await tell(ledger, "2024-02-01", "b", "durable")
    lanes = await ledger.proof.lanes()
    assert (lanes["events"], lanes["fast"], lanes["durable"]) == (2, 1, 2)
    assert float(lanes["fast_median"]) < 0.5
    assert float(lanes["durable_p95"]) > 1


async def test_the_pulse_beats_when_a_page_would_differ(ledger: Ledger) -> None:
    seen = [await ledger.overview.pulse()]
    assert await ledger.overview.pulse() == seen[0]

    async def beat() -> None:
        seen.append(await ledger.overview.pulse())

    await tell(ledger, "2024-01-01", "a", "fast")
    await beat()
    await ledger.operators.pause(NAME, "test")
    await beat()
    await ledger.operators.log_action("test", "pause", NAME)
    await beat()
    await ledger.quarantine.add(
        b"x", reason="not-json", lane="fast", source="s", max_rows=9, max_bytes=99
    )
    await beat()
    await ledger.proof.record_sweep(NAME, clock.now(), listed=0, found=0, gone=0, names=[])
    await beat()
    await ledger.operators.resume(NAME)
    await beat()
    assert await ledger.claims.claim("test", slots=1, lease=timedelta(minutes=1))
    await beat()
    assert len(set(seen)) == len(seen)


async def test_unfinished_says_since_when_and_what_for(ledger: Ledger) -> None:
    await tell(ledger, "2024-01-01", "a", "fast")
    clock.advance(timedelta(minutes=1))
    await tell(ledger, "2024-02-01", "b", "fast")
    newest, oldest = await ledger.overview.unfinished(["waiting", "pending"])
    assert (newest["partition"], oldest["partition"]) == ("2024-02-01", "2024-01-01")
    assert newest["since"] - oldest["since"] > timedelta(seconds=50)
    await ledger.claims.claim("test", slots=1, lease=timedelta(minutes=1))
    (running,) = await ledger.overview.unfinished(["running"])
    assert (running["build_state"], running["partition"]) == ("claimed", "2024-01-01")
    assert [r["partition"] for r in await ledger.overview.unfinished(["pending"])] == ["2024-02-01"]


async def test_waiters_that_go_are_forgotten() -> None:
    wake = LedgerListener("postgresql://nobody")
    first, second = wake.subscribe(), wake.subscribe()
    wake.unsubscribe(first)
    wake.wake()
    assert (first.is_set(), second.is_set()) == (False, True)
