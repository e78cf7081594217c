"""Whether datasets' folders can be listed and their buckets notify, for `check` and `doctor`.

Only the sweep's own calls are used, so that the least rights are enough.
"""

import asyncio
from dataclasses import dataclass
from enum import StrEnum

import urllib3
from minio import Minio
from minio.error import MinioException, S3Error

from quicksilver.domain.datasets import Dataset, Datasets
from quicksilver.lake.rules import rules_in_place
from quicksilver.settings import Settings


class Refusal(StrEnum):
    """Why a listing failed."""

    NO_BUCKET = "no bucket"
    RIGHTS = "rights"
    NO_ANSWER = "no answer"


@dataclass(frozen=True, slots=True)
class Unlisted:
    """A dataset's folder that could not be listed: what was seen, and what fixes it."""

    why: Refusal
    found: str
    fix: str


async def try_to_list(settings: Settings, client: Minio, dataset: Dataset) -> Unlisted | None:
    """List the first object of a dataset; None if the listing succeeded, empty or not."""
    listing = client.list_objects(dataset.bucket, prefix=dataset.prefix, recursive=True)
    try:
        await asyncio.to_thread(next, listing, None)
    except S3Error as error:
        if error.code == "NoSuchBucket":
            return Unlisted(
                Refusal.NO_BUCKET, f"bucket {dataset.bucket} is not there", "quicksilver init"
            )
        return Unlisted(
            Refusal.RIGHTS,
            f"bucket {dataset.bucket} may not be listed: {error.message}",
            "correct MINIO_ACCESS_KEY and MINIO_SECRET_KEY, or let their user list"
            f" {dataset.prefix}* (`quicksilver init --plan` prints the policy)",
        )
    except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
        return Unlisted(
            Refusal.NO_ANSWER,
            f"bucket {dataset.bucket} could not be listed: {settings.minio_endpoint_url} does not"
            f" answer: {' '.join(str(error).split())}",
            "start the store, or correct MINIO_ENDPOINT_URL",
        )
    return None


async def has_rules(client: Minio, bucket: str, datasets: Datasets) -> bool | None:
    """Whether a MinIO bucket's rules cover what is declared; None if we may not read them."""
    try:
        return await asyncio.to_thread(rules_in_place, client, bucket, datasets)
    except S3Error:
        return None
