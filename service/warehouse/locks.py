"""Locks of other sessions: waited for briefly at a time, and reported with their holders."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from tenacity import retry, retry_if_exception, stop_after_delay, wait_random_exponential

from quicksilver.support.statements import statement
from quicksilver.warehouse.session import Connection

# Long enough for most waits to be over, short enough to ask again before the wait is given up.
_LOOK_AFTER = 0.5

# Deadlock, serialization failure, lock not available: the next try finds another moment.
_TRANSIENT = {"40P01", "40001", "55P03"}
# Postgres has no code of its own for this one (XX000): two sessions changed one row of the catalog.
_CONCURRENTLY = "tuple concurrently updated"
_TRANSIENT_WORDS = (
    _CONCURRENTLY,
    "deadlock detected",
    "could not serialize access",
    "canceling statement due to lock timeout",
)


def is_transient(error: BaseException) -> bool:
    """Whether a statement failed only because of another session, so that a retry may succeed."""
    return isinstance(error, psycopg.Error) and (
        error.sqlstate in _TRANSIENT or (error.sqlstate == "XX000" and _CONCURRENTLY in str(error))
    )


def is_transient_text(message: str) -> bool:
    """As `is_transient`, of an error that dbt has turned into text."""
    return any(words in message for words in _TRANSIENT_WORDS)


retry_while_others_work = retry(
    retry=retry_if_exception(is_transient),
    wait=wait_random_exponential(0.05, max=2),
    stop=stop_after_delay(60),
    reraise=True,
)


@dataclass(slots=True)
class Holders:
    """What blocked a session when it was last checked, as a sentence; empty: nothing."""

    told: str = ""


@asynccontextmanager
async def watched(
    connection: Connection, other: AbstractAsyncContextManager[Connection]
) -> AsyncGenerator[Holders]:
    """Watch over the `other` connection what blocks `connection` while the block runs.

    The other one is opened only when the block takes longer than most do.
    """
    holders = Holders()
    watching = asyncio.create_task(_watch(connection.info.backend_pid, other, holders))
    try:
        yield holders
    finally:
        watching.cancel()
        # A failure to name the lock's holder must not fail the block.
        with suppress(asyncio.CancelledError, Exception):
            await watching


async def _watch(
    pid: int, other: AbstractAsyncContextManager[Connection], holders: Holders
) -> None:
    await asyncio.sleep(_LOOK_AFTER)
    async with other as connection:
        while True:
            found = await connection.execute(statement("lock_holders"), {"pid": pid})
            rows = await found.fetchall()
            if rows:
                holders.told = "; ".join(map(_sentence, rows))
            await asyncio.sleep(_LOOK_AFTER)


def _sentence(row: Mapping[str, Any]) -> str:
    """The holder and since when; another role's session shows more only to pg_read_all_stats."""
    who = f"session {row['pid']} of {row['usename']}"
    if row["query_start"] is None:
        return f"{who} holds what it needs (grant pg_read_all_stats to see its statement)"
    called = row["application_name"] or "unnamed"
    return (
        f"{who} ({called}, {row['state']}) holds what it needs since"
        f" {row['query_start']:%H:%M:%S} UTC by: {row['query']}"
    )
