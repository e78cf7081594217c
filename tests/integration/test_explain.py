"""`explain` says what is so: of the bucket that was named, of the pattern, and of the store."""

from collections.abc import AsyncIterator

import pytest

from quicksilver.operators.explain import explain
from tests.support.ledger_harness import DT, LedgerHarness


@pytest.fixture
async def kit(ledger_url: str) -> AsyncIterator[LedgerHarness]:
    opened = await LedgerHarness.open(ledger_url)
    yield opened
    await opened.close()


async def test_another_bucket_has_nothing_of_the_key(kit: LedgerHarness) -> None:
    await kit.put("v1")
    here = await explain(kit.ledger, kit.bronze, f"s3://lake/{kit.key()}")
    assert (len(here["events"]), here["fits"][0]["partition"]) == (1, str(DT))
    other = await explain(kit.ledger, kit.bronze, f"s3://other/{kit.key()}")
    assert (other["events"], other["builds"], other["fits"]) == ([], [], [])
    assert "no event ever came in bucket other" in other["summary"]
    assert other["facts"][0] == "No dataset is declared for bucket other: declared are lake"


async def test_it_says_which_pattern_fits_or_why_none(kit: LedgerHarness) -> None:
    fits = await explain(kit.ledger, None, kit.key())
    assert f"It fits trips/dt={{dt}}/{{file}}: partition {DT} of trips" in fits["facts"]
    for key, why in {
        "elsewhere/dt=2024-01-01/a": "does not begin with trips/dt=",
        "trips/dt=2024-13-45/a": "for a date that no calendar has",
    }.items():
        wrong = await explain(kit.ledger, None, key)
        assert any(fact.startswith("It is not trips's: ") for fact in wrong["facts"]), wrong
        assert why in " ".join(wrong["facts"])


async def test_the_store_is_asked_for_the_object(kit: LedgerHarness) -> None:
    await kit.put("v1")
    at = f"s3://lake/{kit.key()}"
    same = " ".join((await explain(kit.ledger, kit.bronze, at))["facts"])
    assert f"The store holds {at}: 2 bytes, etag v1" in same
    assert "that is the version of its newest event" in same
    kit.bronze.put(kit.key(), "v2")
    newer = " ".join((await explain(kit.ledger, kit.bronze, kit.key()))["facts"])
    assert "its newest event told of another one, etag v1" in newer
    kit.bronze.objects.clear()
    gone = (await explain(kit.ledger, kit.bronze, kit.key()))["facts"]
    assert f"The store does not hold {at} now" in gone
    kit.bronze.is_away = True
    away = (await explain(kit.ledger, kit.bronze, kit.key()))["facts"]
    assert "The store could not be asked: MinIO is away" in away


async def test_no_newer_version_is_made_up(kit: LedgerHarness) -> None:
    """An object that is deleted before a build reads it was overtaken by nothing."""
    await kit.put("v1", file="one.parquet")
    await kit.put("v1", file="two.parquet")
    del kit.bronze.objects[kit.key(file="one.parquet")]
    assert await kit.cycle() == [True]
    told = await explain(kit.ledger, kit.bronze, kit.key(file="one.parquet"))
    assert ": superseded." in told["summary"]
    assert "newer" not in told["summary"]
    assert "The store does not hold" in " ".join(told["facts"])


async def test_both_spellings_are_told_apart(kit: LedgerHarness) -> None:
    await kit.put("v1", file="a+b.parquet")
    await kit.put("v1", file="a b.parquet")
    raw = await explain(kit.ledger, kit.bronze, kit.key(file="a+b.parquet"))
    assert raw["key"] == kit.key(file="a+b.parquet")
    assert {event["key"] for event in raw["events"]} == {raw["key"]}
    other = kit.key(file="a b.parquet")
    assert f"Spelled otherwise, an object of its own has events too: {other}" in raw["facts"]
