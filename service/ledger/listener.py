"""Woken by Postgres: NOTIFY from any replica ends a wait early; a missed one costs a tick."""

import asyncio
import contextlib

import psycopg
import structlog

from quicksilver.errors import LedgerUnavailableError
from quicksilver.support.postgres import conninfo

# Seconds between a connection that broke and the next.
RECONNECT = 0.2

_log = structlog.get_logger(__name__)

CHANNEL = "quicksilver"


class LedgerListener:
    """Listens on the ledger's channel and lets any number of roles wait for it."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self._events: list[asyncio.Event] = []

    def subscribe(self) -> asyncio.Event:
        """An event that is set whenever something changed; the waiter clears it."""
        event = asyncio.Event()
        self._events.append(event)
        return event

    def unsubscribe(self, event: asyncio.Event) -> None:
        """Forget a waiter that comes and goes, such as a browser's stream."""
        self._events.remove(event)

    def wake(self) -> None:
        """Wake every waiter of this process."""
        for event in self._events:
            event.set()

    async def run_once(self) -> None:
        """Listen until the connection breaks.

        Raises:
            LedgerUnavailableError: there is no connection to listen on.
        """
        try:
            connection = await psycopg.AsyncConnection.connect(
                conninfo(self._url, application_name="quicksilver-wake", connect_timeout=5),
                autocommit=True,
            )
        except psycopg.Error as error:
            tried = " ".join(str(error).split())
            raise LedgerUnavailableError(f"the ledger cannot be listened to: {tried}") from error
        try:
            async with connection:
                await connection.execute(f"listen {CHANNEL}")
                # One look finds what was notified while this process did not listen.
                self.wake()
                async for _ in connection.notifies():
                    self.wake()
        except psycopg.Error as error:
            _log.warning("listening broke off, reconnecting", error=str(error).strip())


async def wait_or_timeout(event: asyncio.Event, seconds: float) -> bool:
    """Wait until the event is set or the time is over, and clear it; whether it was set."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), max(seconds, 0.0))
    was_set = event.is_set()
    event.clear()
    return was_set
