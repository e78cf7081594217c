"""A real Kafka as a source: its consumer, and the broker itself, killed at every point.

`make stores` runs it, not `make test`: Java and 43 MB of jars are not for every machine.
"""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from quicksilver.intake.consumers.consumer import QueueUnavailableError
from quicksilver.intake.consumers.kafka import open_kafka
from quicksilver.support import failpoint
from tests.integration.test_consume import bodies, consume, rows
from tests.support.kafka import Broker, kafka
from tests.support.waiting import until

MONTHS = 25


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with kafka(tmp_path_factory.mktemp("kafka")) as found:
        yield found


@pytest.fixture
async def topic(broker: Broker, request: pytest.FixtureRequest) -> str:
    """A topic of the test's own, of three partitions, with a month in each message."""
    name = "".join(sign if sign.isalnum() else "-" for sign in request.node.name)
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.servers)
    await admin.start()
    await admin.create_topics([NewTopic(name, num_partitions=3, replication_factor=1)])
    await admin.close()
    await send(broker, name, bodies(MONTHS))
    return name


async def send(broker: Broker, topic: str, texts: list[str]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=broker.servers, acks="all")
    await producer.start()
    try:
        for place, text in enumerate(texts):
            await producer.send_and_wait(topic, text.encode(), partition=place % 3)
    finally:
        await producer.stop()


async def committed(broker: Broker, topic: str) -> int:
    """How many messages the group says that it is done with."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=broker.servers, group_id="quicksilver", enable_auto_commit=False
    )
    await consumer.start()
    try:
        places = [TopicPartition(topic, place) for place in range(3)]
        return sum([await consumer.committed(place) or 0 for place in places])
    finally:
        await consumer.stop()


async def all_committed(broker: Broker, topic: str, count: int) -> None:
    """Until the group is done with so many; it asks a loop of its own, as `until` blocks."""

    def enough() -> bool:
        return asyncio.run(committed(broker, topic)) >= count

    await asyncio.to_thread(until, enough, f"{count} commits", within=180, every=0.5)


def assert_each_counts_once(ledger_url: str, count: int) -> None:
    found = rows(ledger_url, "select generation from quicksilver.partition")
    assert [row["generation"] for row in found] == [1] * count
    events = rows(ledger_url, "select reason, durable_at from quicksilver.event")
    assert len(events) == count
    assert {event["reason"] for event in events} == {"settling"}
    assert all(event["durable_at"] for event in events)


@pytest.mark.parametrize("point", failpoint.OF_CONSUMERS)
async def test_the_consumer_killed_at_every_point(
    broker: Broker, topic: str, ledger_url: str, tmp_path: Path, point: str
) -> None:
    arguments = ("kafka", topic, "--servers", broker.servers)
    (tmp_path / point).touch()
    killed = consume(ledger_url, *arguments, failpoints=tmp_path)
    assert await asyncio.to_thread(killed.wait, 120) == -signal.SIGKILL
    assert await committed(broker, topic) == 0, "committed before it was durable"
    process = consume(ledger_url, *arguments, failpoints=tmp_path)
    try:
        await all_committed(broker, topic, MONTHS)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 60) == 0
    finally:
        process.kill()
    assert_each_counts_once(ledger_url, MONTHS)


async def test_the_broker_killed_while_it_is_read(
    broker: Broker, topic: str, ledger_url: str, tmp_path: Path
) -> None:
    process = consume(ledger_url, "kafka", topic, "--servers", broker.servers, failpoints=tmp_path)
    try:
        await all_committed(broker, topic, MONTHS)
        broker.kill()
        with pytest.raises(QueueUnavailableError, match="Kafka at"):
            async with open_kafka(topic, servers=broker.servers, group="other"):
                pass
        await asyncio.to_thread(broker.start)
        await send(broker, topic, bodies(MONTHS + 10)[MONTHS:])
        await all_committed(broker, topic, MONTHS + 10)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 60) == 0
    finally:
        process.kill()
    assert_each_counts_once(ledger_url, MONTHS + 10)


async def test_two_consumers_share_a_topic(
    broker: Broker, topic: str, ledger_url: str, tmp_path: Path
) -> None:
    arguments = ("kafka", topic, "--servers", broker.servers)
    (tmp_path / "after-commit-before-ack").touch()
    first, second = (consume(ledger_url, *arguments, failpoints=tmp_path) for _ in range(2))
    try:
        # One of them dies with what it holds; the other is given its partitions.
        await all_committed(broker, topic, MONTHS)
        until(lambda: -signal.SIGKILL in (first.poll(), second.poll()), "one of them is killed")
    finally:
        first.kill()
        second.kill()
    assert_each_counts_once(ledger_url, MONTHS)
