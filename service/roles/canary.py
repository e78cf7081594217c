"""Canary objects: small objects under a prefix of their own whose events measure the lanes."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from time import monotonic
from uuid import uuid4

import urllib3
from minio import Minio
from minio.error import MinioException, S3Error

from quicksilver.domain.partition import CANARY_PREFIX
from quicksilver.errors import BronzeUnavailableError
from quicksilver.lake.targets import LANES
from quicksilver.ledger import Ledger
from quicksilver.support import clock
from quicksilver.support.postgres import Row

# The durable lane's directory is read every 3 s; after twice that, the lane is silent.
PATIENCE = 8.0


@dataclass(frozen=True, slots=True)
class CanaryResult:
    """What became of one canary: seconds from its PUT to each lane's delivery, None if none."""

    fast: float | None
    durable: float | None
    key: str
    put_at: datetime


async def send_canary(
    client: Minio,
    ledger: Ledger,
    bucket: str,
    *,
    lanes: Collection[str] = tuple(LANES),
    patience: float = PATIENCE,
) -> CanaryResult:
    """Put a canary and wait for its event on every lane of `lanes`; it is removed afterwards.

    Raises:
        BronzeUnavailableError: the object could not be put; the message says at which hop.
        LedgerUnavailableError: the ledger cannot be asked.
    """
    key = f"{CANARY_PREFIX}{uuid4().hex}"
    put_at = clock.now()
    try:
        put = await asyncio.to_thread(client.put_object, bucket, key, BytesIO(b"canary"), 6)
    except S3Error as error:
        raise BronzeUnavailableError(
            f"the store refused a canary in {bucket}: {error.code}: {error.message}; correct"
            " MINIO_ACCESS_KEY and MINIO_SECRET_KEY, or let their user put and delete"
            f" {CANARY_PREFIX}*"
        ) from error
    except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
        raise BronzeUnavailableError(
            f"the store cannot be reached: a canary could not be put into {bucket}: {error}"
        ) from error
    try:
        row: Row | None = None
        deadline = monotonic() + patience
        while monotonic() < deadline:
            rows = await ledger.views.events(key=key, limit=10)
            row = next((r for r in rows if r["event_name"].startswith("ObjectCreated")), None)
            if row and all(row[f"{lane}_at"] for lane in lanes):
                break
            # The fast lane is measured by the times of its first deliveries, not by our polls.
            await asyncio.sleep(0.2 if row else 0.05)
    finally:
        await asyncio.to_thread(remove, client, bucket, key, put.version_id)
    fast, durable = (_lag(row, f"{lane}_at", put_at) for lane in ("fast", "durable"))
    return CanaryResult(fast, durable, key, put_at)


def remove(client: Minio, bucket: str, key: str, version: str | None) -> None:
    """Remove a canary, by its version where there is one: a delete marker would stay for ever."""
    try:
        client.remove_object(bucket, key, version_id=version)
    except (MinioException, urllib3.exceptions.HTTPError, OSError):
        # Six leftover bytes do no harm; the next canary has another name.
        return


def _lag(row: Row | None, lane: str, put_at: datetime) -> float | None:
    if row is None or row[lane] is None:
        return None
    # Some senders send the time in whole seconds, which may lie before the PUT.
    since = max(put_at, row["event_at"] or put_at)
    return max(0.0, (row[lane] - since).total_seconds())
