"""One bronze object as a file: exactly the version that the manifest names, or nothing.

Every request carries the etag as `If-Match`, so an object that is overwritten between two reads
ends the build instead of giving it half of each. Where the version is gone, the etag alone decides.
"""

import io
from typing import TYPE_CHECKING

import urllib3
from minio import Minio
from minio.error import MinioException, S3Error

from quicksilver.domain.manifest import ManifestFile
from quicksilver.errors import BronzeUnavailableError, ManifestChangedError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# Up to here one request is cheaper than several, and the file fits beside everything else: a
# 3,000,000-row TLC month is about 50 MB.
_WHOLE_BYTES = 16 * 1024 * 1024
# What one ranged request fetches at least: a page header alone is not worth a request.
_READ_AHEAD = 4 * 1024 * 1024

_GONE = {"PreconditionFailed", "NoSuchKey", "NoSuchVersion", "NoSuchObject"}


class _NoSuchVersionError(Exception):
    """The version is gone; its key may hold the same content all the same."""


class BronzeObject(io.RawIOBase):
    """A seekable read-only file over one object of the manifest; keeps one window in memory."""

    def __init__(self, client: Minio, bucket: str, file: ManifestFile) -> None:
        super().__init__()
        self._client = client
        self._bucket = bucket
        self._file = file
        self._version = file.version_id
        self._position = 0
        self._window_at = 0
        self._window = b""

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """The position from the start, in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; costs nothing until something is read."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._file.size}[whence]
        self._position = base + offset
        return self._position

    def release(self) -> None:
        """Forget the window; reading on fetches it again."""
        self._window = b""

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """Fill the buffer from the window, moving the window when it does not reach.

        Raises:
            ManifestChangedError: the object is no longer the one that was listed.
            BronzeUnavailableError: MinIO did not answer.
        """
        target = memoryview(buffer).cast("B")
        length = min(len(target), self._file.size - self._position)
        if length <= 0:
            return 0
        start = self._position - self._window_at
        if start < 0 or start + length > len(self._window):
            ahead = self._file.size if self._file.size <= _WHOLE_BYTES else _READ_AHEAD
            self._window_at = 0 if self._file.size <= _WHOLE_BYTES else self._position
            wanted = min(max(length, ahead), self._file.size - self._window_at)
            # The old window goes before the new one comes: never two in memory.
            self._window = b""
            self._window = self._get(self._window_at, wanted)
            start = self._position - self._window_at
        target[:length] = self._window[start : start + length]
        self._position += length
        return length

    def _get(self, offset: int, length: int) -> bytes:
        try:
            return self._ask(offset, length)
        except _NoSuchVersionError:
            # Expired by a lifecycle rule, or removed. The same content may stand there under
            # another version: the etag decides.
            self._version = None
            return self._ask(offset, length)

    def _ask(self, offset: int, length: int) -> bytes:
        name = f"s3://{self._bucket}/{self._file.key}"
        response = None
        try:
            response = self._client.get_object(
                self._bucket,
                self._file.key,
                offset=offset,
                length=length,
                request_headers={"If-Match": f'"{self._file.etag}"'},
                version_id=self._version,
            )
            data = response.read()
        except S3Error as error:
            if error.code == "NoSuchVersion" and self._version is not None:
                raise _NoSuchVersionError from error
            if error.code in _GONE:
                raise ManifestChangedError(
                    f"{name} is no longer the object that was listed (etag {self._file.etag}):"
                    " its next version gets a build of its own"
                ) from error
            raise BronzeUnavailableError(
                f"{name} cannot be read: {error.code}: {error.message}"
            ) from error
        except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
            raise BronzeUnavailableError(f"{name} cannot be read: {error}") from error
        finally:
            if response is not None:
                response.close()
                response.release_conn()
        if len(data) != length:
            raise BronzeUnavailableError(
                f"{name} ended after {offset + len(data)} of {self._file.size} bytes"
            )
        return data
