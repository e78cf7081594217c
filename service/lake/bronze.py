"""Bronze as the service sees it: listings of MinIO, through the minio client."""

import asyncio
from collections.abc import Iterator
from datetime import UTC
from functools import cached_property
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.error import MinioException

from quicksilver.domain.datasets import Dataset
from quicksilver.domain.manifest import ListedObject
from quicksilver.domain.partition import prefixes
from quicksilver.errors import BronzeUnavailableError
from quicksilver.settings import Settings


def minio_client(settings: Settings, *, timeout: float = 10.0) -> Minio:
    """A client of the lake; `timeout` in seconds bounds each try of a request.

    Raises:
        SettingsError: the credentials are not set.
    """
    settings.require("minio_access_key", "minio_secret_key")
    parts = urlsplit(settings.minio_endpoint_url)
    return Minio(
        parts.netloc,
        access_key=settings.minio_access_key,
        secret_key=settings.minio_secret_key.get_secret_value(),
        secure=parts.scheme == "https",
        http_client=urllib3.PoolManager(
            timeout=urllib3.Timeout(timeout),
            maxsize=16,
            retries=urllib3.Retry(total=1, backoff_factor=0.1, status_forcelist=[502, 503]),
        ),
    )


class Bronze:
    """Lists bronze. The client is synchronous: each call runs in a thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @cached_property
    def _client(self) -> Minio:
        # Made by the first listing: a receiver alone never lists, and needs no credentials.
        return minio_client(self._settings)

    async def list_folder(self, bucket: str, prefix: str) -> list[ListedObject]:
        """Every object under a prefix, in the order of keys.

        Raises:
            BronzeUnavailableError: MinIO did not answer or refused.
        """
        return await asyncio.to_thread(lambda: list(self.walk(bucket, prefix)))

    def find(self, bucket: str, key: str) -> ListedObject | None:
        """One object as a listing shows it, or None; synchronous, as `walk`.

        Raises:
            BronzeUnavailableError: MinIO did not answer or refused.
        """
        # The key itself is the first of those that begin with it.
        first = next(self.walk(bucket, key), None)
        return first if first and first.key == key else None

    def walk(self, bucket: str, prefix: str, *, start: str = "") -> Iterator[ListedObject]:
        """As `list_folder`, page by page: memory stays flat however many objects there are.

        `start` is the first key of interest.
        """
        try:
            # The API lists the keys after a given one; `start` cut by a character sorts before it.
            after = start[:-1] or None
            for item in self._client.list_objects(
                bucket, prefix=prefix, recursive=True, start_after=after
            ):
                if item.is_dir or item.object_name is None or item.last_modified is None:
                    continue
                yield ListedObject(
                    item.object_name,
                    (item.etag or "").strip('"'),
                    item.size or 0,
                    item.last_modified.astimezone(UTC),
                )
        except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
            reason = getattr(error, "message", None) or str(error)
            raise BronzeUnavailableError(
                f"bronze s3://{bucket}/{prefix} cannot be listed: {reason}"
            ) from error


async def list_partition(bronze: Bronze, dataset: Dataset, name: str) -> list[ListedObject]:
    """Every object that lies where a partition's do, each once; some may belong to no partition.

    Raises:
        BronzeUnavailableError: the store did not answer or refused.
        ValueError: the dataset has no partition of that name.
    """
    listed = [
        found
        for prefix in prefixes(dataset, name)
        for found in await bronze.list_folder(dataset.bucket, prefix)
    ]
    return list({found.key: found for found in listed}.values())
