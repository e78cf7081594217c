"""Queues as sources, each a real server: killed at every point nothing is lost, nothing twice."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import boto3
import httpx
import psycopg
import pytest
from moto.server import ThreadedMotoServer
from psycopg.rows import dict_row

from quicksilver.domain.datasets import load_datasets
from quicksilver.errors import QuicksilverError
from quicksilver.intake.consumers.consumer import Consumer
from quicksilver.intake.consumers.nats import open_nats
from quicksilver.intake.consumers.sqs import open_sqs
from quicksilver.intake.group_commit import Recorder
from quicksilver.intake.record import Intake
from quicksilver.ledger import Ledger
from quicksilver.settings import load_settings
from quicksilver.stack.ports import LOOPBACK, choose_port
from quicksilver.support import failpoint
from quicksilver.support.postgres import Database
from tests.support.checkout import PROJECT
from tests.support.nats_server import NATS
from tests.support.payloads import PREFIX, notification, record
from tests.support.waiting import until

AWS = {
    "AWS_ACCESS_KEY_ID": "any",
    "AWS_SECRET_ACCESS_KEY": "any",
    "AWS_DEFAULT_REGION": "us-east-1",
}
HOLD = 3


def rows(url: str, statement: str) -> list[dict[str, Any]]:
    with psycopg.connect(url, row_factory=cast("Any", dict_row)) as connection:
        found = connection.execute(cast("Any", statement)).fetchall()
    return cast("list[dict[str, Any]]", found)


def bodies(count: int) -> list[str]:
    """Notifications of so many months, each one version."""
    return [
        json.dumps(
            notification(
                record(f"{PREFIX}{2000 + place // 12}-{place % 12 + 1:02}-01/data.parquet")
            )
        )
        for place in range(count)
    ]


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an AWS of our own."""
    for name, value in AWS.items():
        monkeypatch.setenv(name, value)
    server = ThreadedMotoServer(ip_address=LOOPBACK, port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    try:
        # What moto keeps is the process', not the server's: a long poll whose consumer was stopped
        # in the test before would take the message that this one sends.
        httpx.post(f"{url}/moto-api/reset").raise_for_status()
        yield url
    finally:
        server.stop()


class Queue:
    """A queue of SQS, from its sender's side."""

    def __init__(self, aws: str) -> None:
        self.client: Any = boto3.client("sqs", endpoint_url=aws)
        self.url: str = self.client.create_queue(QueueName="landings")["QueueUrl"]

    def send(self, *texts: str) -> None:
        for text in texts:
            self.client.send_message(QueueUrl=self.url, MessageBody=text)

    def held(self) -> int:
        """Messages that were not deleted, given out or not."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)
        return sum(int(count) for count in found["Attributes"].values())


def consume(ledger_url: str, *arguments: str, failpoints: Path) -> subprocess.Popen[bytes]:
    """`quicksilver consume` as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "quicksilver.cli.main", "consume", *arguments],
        cwd=PROJECT,
        env={
            **os.environ,
            **AWS,
            "QUICKSILVER_DATABASE_URL": ledger_url,
            "QUICKSILVER_DATASETS": str(PROJECT / "datasets.yaml"),
            failpoint.VARIABLE: str(failpoints),
        },
    )


@pytest.mark.parametrize("point", failpoint.OF_CONSUMERS)
def test_sqs_killed_at_every_point(aws: str, ledger_url: str, tmp_path: Path, point: str) -> None:
    queue = Queue(aws)
    queue.send(*bodies(25))
    arguments = ("sqs", queue.url, "--endpoint-url", aws, "--hold", str(HOLD))
    (tmp_path / point).touch()
    killed = consume(ledger_url, *arguments, failpoints=tmp_path)
    assert killed.wait(60) == -signal.SIGKILL
    assert queue.held() == 25, "deleted before it was durable, or before the kill"

    process = consume(ledger_url, *arguments, failpoints=tmp_path)
    try:
        until(lambda: queue.held() == 0, "the queue is empty", within=60)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
    found = rows(ledger_url, "select generation from quicksilver.partition")
    assert [row["generation"] for row in found] == [1] * 25
    events = rows(ledger_url, "select reason, durable_at, source from quicksilver.event")
    assert len(events) == 25
    assert {event["reason"] for event in events} == {"settling"}
    assert {event["source"] for event in events} == {"sqs:landings"}
    assert all(event["durable_at"] for event in events)


async def intake_of(ledger_url: str) -> Intake:
    database = Database(ledger_url)
    await database.open()
    ledger = Ledger(database, load_datasets(PROJECT / "datasets.yaml"))
    await ledger.upkeep.sync_datasets()
    return Intake(load_settings(database_url=ledger_url), ledger, Recorder(ledger))


async def test_sqs_hides_a_message_while_the_ledger_is_slow(aws: str, ledger_url: str) -> None:
    queue = Queue(aws)
    queue.send(*bodies(1))
    intake = await intake_of(ledger_url)
    async with open_sqs(queue.url, endpoint_url=aws, hold=HOLD, poll=1) as source:
        consumer = Consumer(intake, source)
        async with await psycopg.AsyncConnection.connect(ledger_url) as other:
            await other.execute("lock table quicksilver.event in access exclusive mode")
            working = asyncio.create_task(consumer.run_once())
            await asyncio.to_thread(
                until,
                lambda: rows(ledger_url, "select from pg_locks where not granted"),
                "the consumer waits for the ledger",
            )
            seen = 0
            async with asyncio.timeout(30):
                # Longer than the queue would hide it by itself.
                deadline = asyncio.get_running_loop().time() + 3 * HOLD
                while asyncio.get_running_loop().time() < deadline:
                    seen += len(await source.receive())
            assert seen == 0
            await other.rollback()
        assert await working == 1
    assert queue.held() == 0
    await intake.recorder.close()
    await intake.ledger.database.close()


async def test_sqs_brings_what_sns_eventbridge_and_s3_put_into_it(
    aws: str, ledger_url: str
) -> None:
    inner = bodies(3)
    wrapped = {"Type": "Notification", "TopicArn": "arn:aws:sns:us-east-1:1:t", "Message": inner[0]}
    queue = Queue(aws)
    queue.send(json.dumps(wrapped), inner[1], "no JSON at all")
    # S3 itself, as moto plays it: it sends a test message first.
    s3: Any = boto3.client("s3", endpoint_url=aws)
    s3.create_bucket(Bucket="datasets")
    arn = "arn:aws:sqs:us-east-1:123456789012:landings"
    s3.put_bucket_notification_configuration(
        Bucket="datasets",
        NotificationConfiguration={
            "QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]
        },
    )
    s3.put_object(Bucket="datasets", Key=f"{PREFIX}2019-01-01/data.parquet", Body=b"x")
    intake = await intake_of(ledger_url)
    async with open_sqs(queue.url, endpoint_url=aws, hold=30, poll=1) as source:
        consumer = Consumer(intake, source)
        while await consumer.run_once():
            pass
    assert queue.held() == 0
    found = rows(ledger_url, "select key from quicksilver.event order by key")
    assert [row["key"] for row in found] == [
        f"{PREFIX}2000-01-01/data.parquet",
        f"{PREFIX}2000-02-01/data.parquet",
        f"{PREFIX}2019-01-01/data.parquet",
    ]
    held = rows(ledger_url, "select reason from quicksilver.quarantine")
    assert [row["reason"] for row in held] == ["not-json"]
    await intake.recorder.close()
    await intake.ledger.database.close()


@pytest.fixture
def nats_url(tmp_path: Path) -> Iterator[str]:
    """A NATS server with JetStream."""
    port = choose_port(None)
    process = subprocess.Popen(
        [str(NATS.binary()), "-js", "-a", LOOPBACK, "-p", str(port), "-sd", str(tmp_path)],
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: socket.create_connection((LOOPBACK, port), 1), "NATS", despite=(OSError,))
        yield f"nats://{LOOPBACK}:{port}"
    finally:
        process.kill()
        process.wait(20)


async def test_nats_killed_between_commit_and_acknowledgement(
    nats_url: str, ledger_url: str, tmp_path: Path
) -> None:
    import nats

    connection = await nats.connect(nats_url)
    stream = connection.jetstream()
    with pytest.raises(QuicksilverError, match="no JetStream stream keeps landings"):
        async with open_nats("landings", servers=nats_url, durable="test"):
            pass
    await stream.add_stream(name="landings", subjects=["landings"])
    for body in bodies(12):
        await stream.publish("landings", body.encode())

    (tmp_path / "after-commit-before-ack").touch()
    killed = consume(ledger_url, "nats", "landings", "--servers", nats_url, failpoints=tmp_path)
    assert await asyncio.to_thread(killed.wait, 60) == -signal.SIGKILL
    assert len(rows(ledger_url, "select from quicksilver.event")) == 12
    held = await stream.consumer_info("landings", "quicksilver")
    assert held.num_ack_pending == 12, "none was acknowledged before the kill"

    # They come again when JetStream's patience ends, and count once.
    intake = await intake_of(ledger_url)
    async with open_nats("landings", servers=nats_url, durable="quicksilver") as source:
        consumer = Consumer(intake, source)
        async with asyncio.timeout(90):
            taken = 0
            while taken < 12:
                taken += await consumer.run_once()
    held = await stream.consumer_info("landings", "quicksilver")
    assert (held.num_ack_pending, held.num_pending) == (0, 0)
    found = rows(ledger_url, "select generation from quicksilver.partition")
    assert [row["generation"] for row in found] == [1] * 12
    await connection.close()
    await intake.recorder.close()
    await intake.ledger.database.close()
