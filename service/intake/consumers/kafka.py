"""Kafka: a consumer group whose offsets are committed after the ledger's commit."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from quicksilver.errors import QuicksilverError
from quicksilver.intake.consumers.consumer import Message, QueueUnavailableError

_BATCH, _POLL_MS = 500, 5_000


class Kafka:
    """One topic, read as a member of a group."""

    # A member that does not poll for that long is taken for dead, and its partitions are given on;
    # what it still records is then a duplicate of another's.
    hold = 300.0

    def __init__(self, consumer: Any, topic: str) -> None:
        self._consumer = consumer
        self.name = f"kafka:{topic}"

    async def receive(self) -> Sequence[Message]:
        from aiokafka.errors import KafkaError

        try:
            found = await self._consumer.getmany(timeout_ms=_POLL_MS, max_records=_BATCH)
        except KafkaError as error:
            raise QueueUnavailableError(f"{self.name}: {error!r}") from error
        return [
            Message(record.value or b"", (place, record.offset))
            for place, records in found.items()
            for record in records
        ]

    async def keep(self, messages: Sequence[Message]) -> None:
        """Nothing to do: the group's heartbeat runs by itself."""

    async def done(self, messages: Sequence[Message]) -> None:
        from aiokafka.errors import KafkaError

        offsets: dict[Any, int] = {}
        for place, offset in (message.handle for message in messages):
            offsets[place] = max(offset + 1, offsets.get(place, 0))
        try:
            await self._consumer.commit(offsets)
        except KafkaError as error:
            raise QueueUnavailableError(f"{self.name}: offsets: {error!r}") from error


@asynccontextmanager
async def open_kafka(topic: str, *, servers: str, group: str) -> AsyncGenerator[Kafka]:
    """A topic; `servers` are host:port, separated by commas.

    Raises:
        QuicksilverError: aiokafka is not installed.
        QueueUnavailableError: no server answers.
    """
    try:
        from aiokafka import AIOKafkaConsumer
        from aiokafka.errors import KafkaError
    except ImportError as error:
        raise QuicksilverError(
            "Kafka needs aiokafka, which is not installed: pip install 'quicksilver[kafka]'"
        ) from error
    consumer: Any = AIOKafkaConsumer(
        topic,
        bootstrap_servers=servers,
        group_id=group,
        enable_auto_commit=False,
        # A new group begins with what is there already: the ledger knows what it has seen.
        auto_offset_reset="earliest",
    )
    try:
        await consumer.start()
    except KafkaError as error:
        await consumer.stop()
        raise QueueUnavailableError(f"Kafka at {servers}: {error!r}") from error
    try:
        yield Kafka(consumer, topic)
    finally:
        await consumer.stop()
