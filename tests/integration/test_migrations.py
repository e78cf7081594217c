"""Migrations: two replicas at once, from the first version on with data in it, never backwards."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest

from quicksilver.domain.reasons import Reason
from quicksilver.domain.states import BuildState, PartitionState
from quicksilver.errors import LedgerUnavailableError, QuicksilverError
from quicksilver.ledger.migrate import available, migrate
from tests.support.ledger_harness import DT, NAME, LedgerHarness
from tests.support.servers import Postgres


@pytest.fixture
def empty_url(stack_postgres: Postgres) -> Iterator[str]:
    """A database without any schema of ours."""
    yield stack_postgres.create_database("ledger_empty", "ledger")
    stack_postgres.drop_database("ledger_empty")


def test_each_number_is_given_once() -> None:
    numbers = [number for number, _ in available()]
    assert numbers[0] == 1
    assert len(set(numbers)) == len(numbers)


async def test_replicas_that_start_at_once_apply_each_once(empty_url: str) -> None:
    applied = await asyncio.gather(*(migrate(empty_url) for _ in range(4)))
    assert sorted(applied)[:3] == [[], [], []]
    assert max(applied) == [path.stem for _, path in available()]
    kit = await LedgerHarness.open(empty_url)
    await kit.put("a")
    assert await kit.cycle() == [True]
    await kit.close()


async def test_from_the_first_version_with_data_in_it(empty_url: str) -> None:
    assert await migrate(empty_url, upto=1) == ["0001_ledger"]
    # Written as the first version's program wrote it: a partition built, another one dirty.
    with psycopg.connect(empty_url, autocommit=True) as connection:
        connection.execute(
            "insert into quicksilver.dataset (name) values (%s)",
            (NAME,),
        )
        connection.execute(
            "insert into quicksilver.partition (dataset, dt, generation, built_generation, state,"
            " dirty_since) values (%s, %s, 7, 6, 'pending', now())",
            (NAME, DT),
        )
        connection.execute(
            "insert into quicksilver.build (dataset, dt, generation, attempt, state,"
            " idempotency_key, owner, claimed_at, finished_at)"
            " values (%s, %s, 6, 1, 'succeeded', 'trips/2024-01-01:6:1', 'old', now(), now())",
            (NAME, DT),
        )
        connection.execute(
            "insert into quicksilver.event (identity, event_name, bucket, key, dataset, dt,"
            " generation, received_at, source, reason) values ('\\x01', 'ObjectCreated:Put',"
            " 'lake', 'k', %s, %s, 7, now(), '127.0.0.1', 'settling')",
            (NAME, DT),
        )
    assert await migrate(empty_url) == [path.stem for number, path in available() if number > 1]
    assert await migrate(empty_url) == []
    kit = await LedgerHarness.open(empty_url)
    kit.bronze.put(kit.key(), "a")
    assert await kit.cycle() == [True]
    row = await kit.row()
    # The listing differed from what the old program was told (nothing): one generation more.
    assert (row["state"], row["generation"], row["built_generation"]) == ("built", 8, 8)
    assert [b["id"] for b in await kit.builds()] == [1, 2], "ids, the fencing tokens, go on rising"
    assert await kit.ledger.views.state_counts()
    assert await kit.ledger.proof.compare()
    await kit.close()


async def test_a_ledger_newer_than_the_program_is_refused(ledger_url: str) -> None:
    with psycopg.connect(ledger_url, autocommit=True) as connection:
        connection.execute("insert into quicksilver.migration (number, name) values (999, 'later')")
    with pytest.raises(QuicksilverError, match=r"at migration 999.*run the newer program"):
        await migrate(ledger_url)


async def test_a_migration_that_fails_leaves_nothing(
    empty_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "0001_good.sql").write_text("create table quicksilver.good (id integer);")
    (tmp_path / "0002_bad.sql").write_text("create table quicksilver.bad (id integer); oops;")
    monkeypatch.setattr("quicksilver.ledger.migrate.MIGRATIONS", tmp_path)
    with pytest.raises(psycopg.errors.SyntaxError):
        await migrate(empty_url)
    with psycopg.connect(empty_url) as connection:
        tables = (
            "select to_regclass('quicksilver.good') is not null, to_regclass('quicksilver.bad')"
        )
        assert connection.execute(tables).fetchone() == (True, None)
        numbers = connection.execute("select number from quicksilver.migration").fetchall()
    assert numbers == [(1,)]
    (tmp_path / "0002_bad.sql").write_text("create table quicksilver.bad (id integer);")
    assert await migrate(empty_url) == ["0002_bad"]


async def test_postgres_away_is_said_in_a_sentence() -> None:
    with pytest.raises(LedgerUnavailableError, match="cannot be reached"):
        await migrate("postgresql://nobody:nothing@127.0.0.1:1/none")


async def test_the_ledger_and_the_program_mean_the_same_by_each_state(empty_url: str) -> None:
    await migrate(empty_url)
    with psycopg.connect(empty_url, autocommit=True) as connection:

        def are(function: LiteralString, words: type[StrEnum]) -> list[bool]:
            rows = connection.execute(
                # In the enum's own order.
                f"select quicksilver.{function}(x)"
                " from unnest(%s::text[]) with ordinality as w (x, n) order by n",
                (list(words),),
            )
            return [bool(row[0]) for row in rows]

        assert are("is_active", BuildState) == [state.is_active for state in BuildState]
        assert are("is_dirty", PartitionState) == [state.is_dirty for state in PartitionState]
        assert are("is_open", Reason) == [reason.is_open for reason in Reason]
        shown = connection.execute(
            "select quicksilver.shown_state(x, now()) from unnest(%s::text[]) as x",
            (list(PartitionState),),
        ).fetchall()
        dirty = [PartitionState.PAUSED if s.is_dirty else s for s in PartitionState]
        assert [row[0] for row in shown] == dirty
        checks = connection.execute(
            "select conrelid::regclass::text, pg_get_constraintdef(oid) from pg_constraint"
            " where contype = 'c' and connamespace = 'quicksilver'::regnamespace"
            " and conname in ('partition_state_check', 'build_state_check')"
        ).fetchall()
    kept = {name: set(re.findall(r"'(\w+)'::text", text)) for name, text in checks}
    assert kept == {
        "quicksilver.partition": set(PartitionState) - {PartitionState.PAUSED},
        "quicksilver.build": set(BuildState),
    }
