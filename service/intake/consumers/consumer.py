"""The loop around any queue: receive, record, and only then acknowledge.

Killed anywhere it loses nothing, because the queue still has the message, and counts nothing twice,
because the ledger knows an event that comes again. While the ledger is away the messages are held
and recorded again: a queue that gave them out anew would only count their deliveries up.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import psycopg
import structlog

from quicksilver.errors import LedgerUnavailableError, QuicksilverError
from quicksilver.intake.record import Intake, record_body
from quicksilver.intake.senders.aws import sns_text
from quicksilver.support import failpoint
from quicksilver.support.backoff import delay
from quicksilver.support.repeated import Repeated

_log = structlog.get_logger(__name__)


class QueueUnavailableError(QuicksilverError):
    """The queue did not answer, or refused; nothing that it has is lost."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message: its sender's body, and its queue's handle."""

    body: bytes
    handle: Any


class Source(Protocol):
    """A queue. Its methods raise `QueueUnavailableError`; the same call may be tried again."""

    # For people and for the ledger: `sqs:orders`.
    name: str
    # Seconds for which the queue hides a received message from other consumers.
    hold: float

    async def receive(self) -> Sequence[Message]:
        """Wait some seconds for messages; none is an answer."""
        ...

    async def keep(self, messages: Sequence[Message]) -> None:
        """Have the queue hold them for as long again."""
        ...

    async def done(self, messages: Sequence[Message]) -> None:
        """Have the queue forget them."""
        ...


class Consumer:
    """Brings what a queue holds into the ledger."""

    def __init__(self, intake: Intake, source: Source) -> None:
        self._intake = intake
        self._source = source
        self._ending = asyncio.Event()

    def end(self) -> None:
        """Have `run` return after the batch that it works on."""
        self._ending.set()

    async def run(self) -> None:
        """Consume until `end` is called; a queue that is away is asked again."""
        away, name = Repeated(), self._source.name
        while not self._ending.is_set():
            try:
                await self.run_once()
                if failures := away.end():
                    _log.info("the queue answers again", queue=name, failures=failures)
            except QueueUnavailableError as error:
                if away.is_news(str(error)):
                    _log.warning(
                        "the queue is asked again",
                        queue=name,
                        error=str(error),
                        failures=away.failures,
                    )
                await asyncio.sleep(delay(away.failures, base=0.5, cap=30))

    async def run_once(self) -> int:
        """Take one batch; how many messages it had.

        Raises:
            QueueUnavailableError: what was recorded and not forgotten comes again, as a duplicate.
        """
        messages = await self._next()
        if not messages:
            return 0
        failpoint.reach("after-receive-before-commit")
        keeper = asyncio.create_task(self._keep(messages))
        try:
            await self._record(messages)
            failpoint.reach("after-commit-before-ack")
            await self._source.done(messages)
        finally:
            keeper.cancel()
            with suppress(asyncio.CancelledError):
                await keeper
        return len(messages)

    async def _next(self) -> Sequence[Message]:
        """The next batch; none when the end is asked for, which breaks a long poll off."""
        waiting = asyncio.ensure_future(self._source.receive())
        ending = asyncio.ensure_future(self._ending.wait())
        try:
            await asyncio.wait((waiting, ending), return_when=asyncio.FIRST_COMPLETED)
            return waiting.result() if waiting.done() else []
        finally:
            for task in (waiting, ending):
                task.cancel()

    async def _record(self, messages: Sequence[Message]) -> None:
        """Make every message durable, however long the ledger is away; one commit serves many."""
        left, failures = list(messages), 0
        while left:
            outcomes = await asyncio.gather(*(self._take(message) for message in left))
            left = [message for message, ok in zip(left, outcomes, strict=True) if not ok]
            if left:
                failures += 1
                await asyncio.sleep(delay(failures, base=0.5, cap=10))

    async def _take(self, message: Message) -> bool:
        try:
            await record_body(self._intake, sns_text(message.body), "durable", self._source.name)
        except (LedgerUnavailableError, psycopg.Error) as error:
            _log.warning("a message waits for the ledger", error=repr(error))
            return False
        return True

    async def _keep(self, messages: Sequence[Message]) -> None:
        while True:
            await asyncio.sleep(self._source.hold / 3)
            try:
                await self._source.keep(messages)
            except QueueUnavailableError as error:
                _log.warning("the queue may give messages out again", error=str(error))
