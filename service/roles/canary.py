"""Canary objects: small objects under a prefix of their own whose events measure the lanes."""

import asyncio
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
from quicksilver.ledger import Ledger
from quicksilver.support import clock
from quicksilver.support.postgres import Row

# The durable lane's directory is read every 3 s; twice that, and the lane is silent.
PATIENCE = 8.0


@dataclass(frozen=True, slots=True)
class CanaryResult:
    """What became of one canary: seconds from its PUT to each lane's delivery, None if none."""

    fast: float | None
    durable: float | None
    key: str
    put_at: datetime


async def send_canary(
    client: Minio, ledger: Ledger, bucket: str, *, patience: float = PATIENCE
) -> CanaryResult:
    """Put a canary and wait for its event on both lanes; it is removed afterwards.

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
            f"MinIO refused to store a canary in {bucket}: {error.code}: {error.message}; correct"
            " MINIO_ACCESS_KEY and MINIO_SECRET_KEY, or let their user put and delete"
            f" {CANARY_PREFIX}*"
        ) from error
    except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
        raise BronzeUnavailableError(
            f"MinIO cannot be reached: a canary could not be put into {bucket}: {error}"
        ) from error
    try:
        row: Row | None = None
        deadline = monotonic() + patience
        while monotonic() < deadline:
            rows = await ledger.views.events(key=key, limit=10)
            row = next((r for r in rows if r["event_name"].startswith("ObjectCreated")), None)
            if row and row["fast_at"] and row["durable_at"]:
                break
            # The fast lane is measured by its first deliveries' clocks, not by this one's looks.
            await asyncio.sleep(0.2 if row else 0.05)
    finally:
        await asyncio.to_thread(_remove, client, bucket, key, put.version_id)
    return CanaryResult(_lag(row, "fast_at"), _lag(row, "durable_at"), key, put_at)


def _remove(client: Minio, bucket: str, key: str, version: str | None) -> None:
    """By its version where there is one: a delete marker would stay for ever."""
    try:
        client.remove_object(bucket, key, version_id=version)
    except (MinioException, urllib3.exceptions.HTTPError, OSError):
        # Six bytes that stay do no harm; the next canary has another name.
        return


def _lag(row: Row | None, lane: str) -> float | None:
    if row is None or row[lane] is None:
        return None
    return max(0.0, (row[lane] - (row["event_at"] or row["received_at"])).total_seconds())
