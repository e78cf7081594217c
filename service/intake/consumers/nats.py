"""NATS JetStream: a durable pull consumer, acknowledged after the ledger's commit."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from quicksilver.errors import QuicksilverError
from quicksilver.intake.consumers.consumer import Message, QueueUnavailableError

_BATCH, _POLL = 500, 5.0


class Nats:
    """One subject of a stream, read by a durable consumer."""

    # JetStream's own default; `keep` begins it anew.
    hold = 30.0

    def __init__(self, subscription: Any, subject: str) -> None:
        self._subscription = subscription
        self.name = f"nats:{subject}"

    async def receive(self) -> Sequence[Message]:
        from nats.errors import Error

        try:
            found = await self._subscription.fetch(_BATCH, timeout=_POLL)
        except TimeoutError:
            # Nothing came: nats-py says so by its own subclass or, at the deadline, by asyncio's.
            return []
        except (Error, OSError) as error:
            raise QueueUnavailableError(f"{self.name}: {error!r}") from error
        return [Message(message.data, message) for message in found]

    async def keep(self, messages: Sequence[Message]) -> None:
        await self._each(messages, "in_progress")

    async def done(self, messages: Sequence[Message]) -> None:
        # Wait for the server's answer: a lost acknowledgement would cause a duplicate.
        await self._each(messages, "ack_sync")

    async def _each(self, messages: Sequence[Message], say: str) -> None:
        from nats.errors import Error

        try:
            for message in messages:
                await getattr(message.handle, say)()
        except (Error, OSError) as error:
            raise QueueUnavailableError(f"{self.name}: {error!r}") from error


@asynccontextmanager
async def open_nats(subject: str, *, servers: str, durable: str) -> AsyncGenerator[Nats]:
    """A subject that a JetStream stream keeps; `servers` are nats:// URLs, separated by commas.

    Raises:
        QuicksilverError: nats-py is not installed, or no stream keeps the subject.
        QueueUnavailableError: no server answers.
    """
    try:
        import nats
        from nats.errors import Error
        from nats.js.errors import NotFoundError
    except ImportError as error:
        raise QuicksilverError(
            "NATS needs nats-py, which is not installed: pip install 'quicksilver[nats]'"
        ) from error
    try:
        connection = await nats.connect(servers.split(","), max_reconnect_attempts=-1)
    except (Error, OSError) as error:
        raise QueueUnavailableError(f"NATS at {servers}: {error!r}") from error
    try:
        subscription = await connection.jetstream().pull_subscribe(subject, durable=durable)
    except NotFoundError as error:
        await connection.close()
        raise QuicksilverError(
            f"no JetStream stream keeps {subject}, so what was sent while nobody listened would be"
            f" lost: make one with `nats stream add --subjects {subject}`"
        ) from error
    try:
        yield Nats(subscription, subject)
    finally:
        await connection.close()
