"""Writing one file into bronze: whole or not at all, and only when it is not there already.

A file up to two chunks is one PUT, a larger one a multipart upload that is completed at the very
end: S3 shows an object only then, so a crash leaves the old object, or none, never half of one.
"""

import hashlib
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, BinaryIO, cast

from botocore.exceptions import BotoCoreError, ClientError
from s3fs import S3FileSystem

from quicksilver.domain.datasets import Dataset
from quicksilver.domain.partition import prefixes
from quicksilver.errors import BronzeUnavailableError
from quicksilver.flows.nyc_tlc.source import Fetched, Origin
from quicksilver.settings import Settings
from quicksilver.support import clock

DATA_FILE = "data.parquet"

# s3fs holds two chunks and a few parts in memory; four months at once stay under 200 MB.
CHUNK = 16 << 20
_PARTS_AT_ONCE = 2
# Tries of a single request, for a hiccup; the task's retries wait for a lake that is down.
_ATTEMPTS = 2
# No upload of a month takes a day: what is older was left behind by a process that died.
_ABANDONED_AFTER = timedelta(days=1)

_SHA256 = "sha256"
_SOURCE_URL = "source-url"
_SOURCE_ETAG = "source-etag"


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What the target holds now; `sha256` only when an ingest has written it."""

    size: int
    sha256: str | None
    origin: Origin | None


class BronzeTarget:
    """The place in bronze of one partition's file."""

    def __init__(self, settings: Settings, dataset: Dataset, month: date) -> None:
        self.bucket = dataset.bucket
        self.key = prefixes(dataset, dataset.pattern.time_name(month))[0] + DATA_FILE
        self._endpoint = settings.minio_endpoint_url
        self._lake = S3FileSystem(
            key=settings.minio_access_key,
            secret=settings.minio_secret_key.get_secret_value(),
            endpoint_url=settings.minio_endpoint_url,
            # `bucket.minio:9000` resolves nowhere.
            config_kwargs={
                "s3": {"addressing_style": "path"},
                "retries": {"mode": "standard", "max_attempts": _ATTEMPTS},
                "connect_timeout": 10,
            },
            use_listings_cache=False,
            skip_instance_cache=True,
        )
        self._lake.retries = _ATTEMPTS

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    def current(self) -> StoredObject | None:
        """What is there, `None` when nothing is.

        Raises:
            BronzeUnavailableError: MinIO does not answer or refuses.
        """
        with self._translated("look at"):
            try:
                head = self._call("head_object")
            except FileNotFoundError:
                return None
        noted: dict[str, str] = head.get("Metadata", {})
        origin = None
        if noted.get(_SHA256) and noted.get(_SOURCE_URL) and noted.get(_SOURCE_ETAG):
            origin = Origin(noted[_SOURCE_URL], noted[_SOURCE_ETAG])
        return StoredObject(int(head["ContentLength"]), noted.get(_SHA256), origin)

    def same_content(self, held: StoredObject | None, fetched: Fetched) -> bool:
        """Whether the target has these bytes already.

        The SHA-256 is kept in the object's own metadata, written in the same atomic PUT, because
        an ETag is the MD5 only of an object that was put in one part and not encrypted. An object
        of the same size that another writer put is read and hashed.

        Raises:
            BronzeUnavailableError: MinIO does not answer or refuses.
        """
        if held is None or held.size != fetched.size:
            return False
        return (held.sha256 or self._hash()) == fetched.sha256

    def land(self, fetched: Fetched) -> None:
        """Write the file as one object.

        Raises:
            BronzeUnavailableError: not written; the target is as it was.
        """
        noted = {_SHA256: fetched.sha256}
        if fetched.origin is not None:
            noted |= {_SOURCE_URL: fetched.origin.url, _SOURCE_ETAG: fetched.origin.etag}
        with self._translated("write"):
            self._abort_abandoned()
            self._lake.put_file(
                str(fetched.path),
                f"{self.bucket}/{self.key}",
                chunksize=CHUNK,
                max_concurrency=_PARTS_AT_ONCE,
                Metadata=noted,
                ContentType="application/vnd.apache.parquet",
            )

    def _hash(self) -> str:
        digest = hashlib.sha256()
        with self._translated("read"):
            opened = self._lake.open(
                f"{self.bucket}/{self.key}", "rb", block_size=CHUNK, cache_type="readahead"
            )
            with cast("BinaryIO", opened) as file:
                while chunk := file.read(CHUNK):
                    digest.update(chunk)
        return digest.hexdigest()

    def _abort_abandoned(self) -> None:
        """Free the space of uploads to this key whose process died; s3fs aborts its own."""
        # The whole key as prefix: MinIO lists uploads only for an exact key.
        listed = cast(
            "dict[str, Any]",
            self._lake.call_s3("list_multipart_uploads", Bucket=self.bucket, Prefix=self.key),
        )
        for upload in listed.get("Uploads", []):
            if upload["Key"] == self.key and upload["Initiated"] < clock.now() - _ABANDONED_AFTER:
                self._call("abort_multipart_upload", UploadId=upload["UploadId"])

    def _call(self, method: str, **arguments: str) -> dict[str, Any]:
        answer = self._lake.call_s3(method, Bucket=self.bucket, Key=self.key, **arguments)
        return cast("dict[str, Any]", answer)

    @contextmanager
    def _translated(self, action: str) -> Generator[None]:
        try:
            yield
        except (OSError, BotoCoreError, ClientError) as error:
            hint = ""
            if isinstance(error, FileNotFoundError):
                hint = ": is the bucket there? `quicksilver init` makes it"
            elif isinstance(error, PermissionError):
                hint = ": check MINIO_ACCESS_KEY and MINIO_SECRET_KEY"
            raise BronzeUnavailableError(
                f"{self}: could not {action} it at {self._endpoint}: {error}{hint}"
            ) from error
