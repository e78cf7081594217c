"""Amazon SQS: long polls, deletes in batches."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import BotoCoreError, ClientError

from quicksilver.intake.consumers.consumer import Message, QueueUnavailableError

# SQS' own limits: messages a call, and seconds that a long poll may last.
_BATCH, _POLL = 10, 20


class Sqs:
    """One queue, by its URL."""

    def __init__(self, client: Any, queue_url: str, *, hold: float, poll: int) -> None:
        self._client = client
        self._url = queue_url
        self._poll = poll
        self.hold = hold
        self.name = f"sqs:{queue_url.rstrip('/').rpartition('/')[2]}"

    async def receive(self) -> Sequence[Message]:
        answer = await self._ask(
            "receive_message",
            MaxNumberOfMessages=_BATCH,
            WaitTimeSeconds=self._poll,
            VisibilityTimeout=int(self.hold),
        )
        return [
            Message(found["Body"].encode("utf-8", "surrogatepass"), found["ReceiptHandle"])
            for found in answer.get("Messages") or []
        ]

    async def keep(self, messages: Sequence[Message]) -> None:
        entries = [{**entry, "VisibilityTimeout": int(self.hold)} for entry in _entries(messages)]
        await self._ask("change_message_visibility_batch", Entries=entries)

    async def done(self, messages: Sequence[Message]) -> None:
        answer = await self._ask("delete_message_batch", Entries=_entries(messages))
        if failed := answer.get("Failed"):
            raise QueueUnavailableError(
                f"{self.name} did not delete {len(failed)} messages, which come again:"
                f" {failed[0].get('Code')}"
            )

    async def _ask(self, operation: str, **arguments: Any) -> dict[str, Any]:
        try:
            return await getattr(self._client, operation)(QueueUrl=self._url, **arguments)
        except (BotoCoreError, ClientError, OSError) as error:
            raise QueueUnavailableError(f"{self.name}: {operation}: {error}") from error


def _entries(messages: Sequence[Message]) -> list[dict[str, Any]]:
    return [
        {"Id": str(place), "ReceiptHandle": message.handle}
        for place, message in enumerate(messages)
    ]


@asynccontextmanager
async def open_sqs(
    queue_url: str,
    *,
    endpoint_url: str | None = None,
    region: str | None = None,
    hold: float = 60.0,
    poll: int = _POLL,
) -> AsyncGenerator[Sqs]:
    """A queue of SQS; credentials, and the region where none is named, are found as AWS' tools do.

    `hold` is the seconds for which a received message is hidden from others.

    Raises:
        QueueUnavailableError: no region or credentials are known.
    """
    # The answer to a long poll takes as long as the poll.
    config = AioConfig(read_timeout=_POLL + 10, retries={"max_attempts": 2})
    try:
        made = get_session().create_client(
            "sqs", region_name=region, endpoint_url=endpoint_url, config=config
        )
        client = await made.__aenter__()
    except (BotoCoreError, ValueError) as error:
        raise QueueUnavailableError(f"SQS cannot be asked: {error}") from error
    try:
        yield Sqs(client, queue_url, hold=hold, poll=poll)
    finally:
        await client.__aexit__(None, None, None)
