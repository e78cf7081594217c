"""Wakes the worker: the ledger's NOTIFY says that Prefect has a new run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from logging import Logger, LoggerAdapter

import psycopg

from quicksilver.support.postgres import conninfo

CHANNEL = "quicksilver_runs"
# Seconds between a connection that broke and the next; the poll underneath goes on meanwhile.
_RECONNECT = 2.0


async def listen(
    url: str, woken: Callable[[], None], logger: Logger | LoggerAdapter[Logger]
) -> None:
    """Call `woken` whenever a run was created, and once at each (re)connect. Never returns."""
    was_heard = True
    while True:
        try:
            connection = await psycopg.AsyncConnection.connect(
                conninfo(url, application_name="quicksilver-worker", connect_timeout=5),
                autocommit=True,
            )
            async with connection:
                await connection.execute(f"listen {CHANNEL}")
                was_heard = True
                # Polling once finds what was notified before the listener was connected.
                woken()
                async for _ in connection.notifies():
                    woken()
        except psycopg.Error as error:
            if was_heard:
                said = " ".join(str(error).split())
                logger.warning("the ledger cannot be listened to, runs wait for a poll: %s", said)
            was_heard = False
        await asyncio.sleep(_RECONNECT)
