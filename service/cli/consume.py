"""`quicksilver consume`: events from a queue into the ledger, until it is stopped."""

import asyncio
import signal
from contextlib import AbstractAsyncContextManager
from typing import Annotated

import typer

from quicksilver.cli.groups import InOrder
from quicksilver.cli.shared import opened_ledger, reported
from quicksilver.intake.consumers.consumer import Consumer, Source
from quicksilver.intake.group_commit import Recorder
from quicksilver.intake.record import Intake
from quicksilver.lake.bronze import Bronze
from quicksilver.settings import load_settings
from quicksilver.support.log import configure_logging

app = typer.Typer(
    cls=InOrder,
    help="Take events from a queue; what it holds is deleted after the ledger's commit.",
    no_args_is_help=True,
)


@app.command()
@reported
def sqs(
    queue_url: Annotated[str, typer.Argument(help="The queue's URL.")],
    endpoint_url: Annotated[str, typer.Option(help="Another SQS than Amazon's.")] = "",
    region: Annotated[str, typer.Option(help="[as AWS' own tools find it]")] = "",
    hold: Annotated[
        float, typer.Option(min=3, help="Seconds that a received message is hidden from others.")
    ] = 60.0,
) -> None:
    """S3's notifications, and EventBridge's and SNS', from a queue of Amazon SQS."""
    from quicksilver.intake.consumers.sqs import open_sqs

    source = open_sqs(
        queue_url, endpoint_url=endpoint_url or None, region=region or None, hold=hold
    )
    asyncio.run(consume_until_stopped(source))


@app.command()
@reported
def kafka(
    topic: str,
    servers: Annotated[str, typer.Option(help="host:port, separated by commas.")],
    group: Annotated[str, typer.Option(help="The consumer group.")] = "quicksilver",
) -> None:
    """What MinIO, RustFS, Ceph or Versity send to a topic of Kafka."""
    from quicksilver.intake.consumers.kafka import open_kafka

    asyncio.run(consume_until_stopped(open_kafka(topic, servers=servers, group=group)))


@app.command()
@reported
def nats(
    subject: str,
    servers: Annotated[str, typer.Option(help="nats:// URLs, separated by commas.")],
    durable: Annotated[str, typer.Option(help="The durable consumer's name.")] = "quicksilver",
) -> None:
    """What MinIO, RustFS or Versity send to a subject that a JetStream stream keeps."""
    from quicksilver.intake.consumers.nats import open_nats

    asyncio.run(consume_until_stopped(open_nats(subject, servers=servers, durable=durable)))


async def consume_until_stopped(opening: AbstractAsyncContextManager[Source]) -> None:
    """Consume in the foreground; SIGTERM and SIGINT end it after the batch under way.

    Raises:
        QuicksilverError: the queue or the ledger cannot be opened.
    """
    settings = load_settings()
    configure_logging(settings.log_format)
    async with opened_ledger(settings) as ledger, opening as source:
        await ledger.upkeep.sync_datasets()
        recorder = Recorder(ledger)
        consumer = Consumer(Intake(settings, ledger, recorder, Bronze(settings)), source)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, consumer.end)
        try:
            await consumer.run()
        finally:
            await recorder.close()
