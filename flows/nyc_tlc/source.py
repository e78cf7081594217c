"""Where TLC's monthly parquet files come from: an http(s) base URL, a folder, or a `file://` URL.

`fetch` answers with an outcome, `Fetched`, `SameAsBefore` or `NotPublished`; only what should not
happen is an error. A download is streamed to a file: memory stays flat whatever the month's size.
"""

import hashlib
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from http import HTTPStatus
from pathlib import Path
from typing import Literal, Protocol
from urllib.request import url2pathname

import httpx

from quicksilver.errors import QuicksilverError, SettingsError
from quicksilver.support.project import in_project

# Yellow and green taxis, and cars for hire: of all bases, and of those with a high volume.
Taxi = Literal["yellow", "green", "fhv", "fhvhv"]

CHUNK = 1 << 20
# TLC's largest month so far has 15 million trips in 250 MB; past 4 GB it is something else.
LARGEST = 4 << 30
# A month takes a minute on a slow line; a source that drips for longer is stuck, and tried again.
LONGEST_SECONDS = 1800.0
TIMEOUT = httpx.Timeout(60.0, connect=10.0)


class SourceUnavailableError(QuicksilverError):
    """The source did not deliver a month that it may well have: worth another try."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Which version of which document a download is; lets the next run ask "changed since?"."""

    url: str
    etag: str


@dataclass(frozen=True, slots=True)
class Fetched:
    """The month's file, whole, on this machine; `size` in bytes, `sha256` in hex."""

    path: Path
    size: int
    sha256: str
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class SameAsBefore:
    """The source still has the version that the caller knows."""


@dataclass(frozen=True, slots=True)
class NotPublished:
    """The source does not have this month (yet)."""

    where: str


class Source(Protocol):
    """Hands out months, each named by its first day."""

    def fetch(
        self, month: date, into: Path, known: Origin | None = None
    ) -> Fetched | SameAsBefore | NotPublished:
        """Put the month's file into the folder `into`, unless it is the `known` one.

        Raises:
            SourceUnavailableError: not delivered, or not whole; the message names the file.
        """
        ...

    def publishes(self, month: date) -> bool:
        """Whether the source has the month, without bringing it.

        Raises:
            SourceUnavailableError: it cannot be asked.
        """
        ...


def file_name(month: date, taxi: Taxi = "yellow") -> str:
    """TLC's own name of a month's file."""
    return f"{taxi}_tripdata_{month:%Y-%m}.parquet"


def open_source(location: str, taxi: Taxi = "yellow") -> Source:
    """The source behind `TLC_SOURCE`; a relative folder is taken from the project's root.

    Raises:
        SettingsError: when it is neither an http(s) URL nor a folder that exists.
    """
    if location.startswith(("http://", "https://")):
        try:
            base = httpx.URL(location)
        except httpx.InvalidURL as error:
            raise SettingsError(f"TLC_SOURCE: no valid URL: {error}") from None
        if not base.host:
            raise SettingsError("TLC_SOURCE: the URL names no host")
        return HttpSource(base, taxi)
    if location.startswith("file://"):
        host, _, path = location.removeprefix("file://").partition("/")
        if host not in ("", "localhost"):
            raise SettingsError(f"TLC_SOURCE: {location}: file:// reaches this machine only")
        folder = Path(url2pathname(f"/{path}"))
    elif "://" in location:
        raise SettingsError(
            f"TLC_SOURCE: {location}: needs an http(s) URL, a folder or a file:// URL"
        )
    else:
        folder = in_project(Path(location))
    # A mistyped folder would otherwise look like twelve months that are not published yet.
    if not location or not folder.is_dir():
        raise SettingsError(f"TLC_SOURCE: there is no folder {folder}")
    return FolderSource(folder, taxi)


@dataclass(frozen=True, slots=True)
class FolderSource:
    """A folder of this machine."""

    folder: Path
    taxi: Taxi = "yellow"

    def fetch(
        self,
        month: date,
        into: Path,
        known: Origin | None = None,  # noqa: ARG002  reading a local file again costs little
    ) -> Fetched | NotPublished:
        """Copy the month: the checked file is then the landed one, even if it is overwritten.

        Raises:
            SourceUnavailableError: the file is there and cannot be read.
        """
        path = self.folder / file_name(month, self.taxi)
        try:
            with path.open("rb") as file:
                return _spool(iter(lambda: file.read(CHUNK), b""), into / path.name)
        except FileNotFoundError:
            if self.folder.is_dir():
                return NotPublished(str(path))
            raise SourceUnavailableError(
                f"{path.name}: the folder {self.folder} is gone (TLC_SOURCE)"
            ) from None
        except OSError as error:
            raise SourceUnavailableError(f"{path}: cannot be read: {error.strerror}") from error

    def publishes(self, month: date) -> bool:
        """Whether the file is there."""
        return (self.folder / file_name(month, self.taxi)).is_file()

    def __str__(self) -> str:
        return str(self.folder)


@dataclass(frozen=True, slots=True)
class HttpSource:
    """A web server; its base URL may carry a user and a query, neither is ever shown."""

    base: httpx.URL
    taxi: Taxi = "yellow"

    def fetch(
        self, month: date, into: Path, known: Origin | None = None
    ) -> Fetched | SameAsBefore | NotPublished:
        """Download the month in a stream.

        Raises:
            SourceUnavailableError: unreachable, refused, broken off, or too large or slow.
        """
        name = file_name(month, self.taxi)
        shown = self._shown(name)
        # Compressed on the way, the length announced would not be the length of the file.
        headers = {"Accept-Encoding": "identity"}
        if known is not None and known.url == shown:
            headers["If-None-Match"] = known.etag
        with self._asked(name, headers) as response:
            if response.status_code == HTTPStatus.NOT_MODIFIED and len(headers) > 1:
                return SameAsBefore()
            if not self._has(name, response):
                return NotPublished(shown)
            fetched = _spool(response.iter_bytes(CHUNK), into / name)
            _refuse_truncated(name, response)
        etag = response.headers.get("etag", "")
        if not _fits_metadata(etag) or not _fits_metadata(shown):
            return fetched
        return Fetched(fetched.path, fetched.size, fetched.sha256, Origin(shown, etag))

    def publishes(self, month: date) -> bool:
        """Ask for the month, and close the connection when the answer begins.

        Raises:
            SourceUnavailableError: unreachable, or refused.
        """
        name = file_name(month, self.taxi)
        with self._asked(name, {}) as response:
            return self._has(name, response)

    def __str__(self) -> str:
        return _without_secrets(self.base)

    @contextmanager
    def _asked(self, name: str, headers: dict[str, str]) -> Generator[httpx.Response]:
        try:
            with (
                httpx.Client(timeout=TIMEOUT, follow_redirects=True) as client,
                client.stream("GET", self._url(name), headers=headers) as response,
            ):
                yield response
        except httpx.HTTPError as error:
            raise SourceUnavailableError(
                f"{name}: {self._shown(name)} was not delivered:"
                f" {str(error) or type(error).__name__}"
            ) from error

    def _has(self, name: str, response: httpx.Response) -> bool:
        if _is_unpublished(response):
            return False
        if response.status_code != HTTPStatus.OK:
            raise SourceUnavailableError(
                f"{name}: {self._shown(name)} answered {response.status_code}"
                f" {response.reason_phrase}".rstrip()
            )
        return True

    def _url(self, name: str) -> httpx.URL:
        return self.base.copy_with(path=f"{self.base.path.rstrip('/')}/{name}")

    def _shown(self, name: str) -> str:
        return _without_secrets(self._url(name))


def _without_secrets(url: httpx.URL) -> str:
    return str(url.copy_with(username=None, password=None, query=None))


def _is_unpublished(response: httpx.Response) -> bool:
    """Whether the answer means "no such file"; reads the body of a 403.

    S3 without the right to list, which is what the official address is, says 403 AccessDenied for
    a file that does not exist. Any other 403 is a real refusal, a page of the official host's CDN
    that blocks this address among them: calling that "not published" would hide a wrong
    password, or a block, behind a green run.
    """
    if response.status_code in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        return True
    if response.status_code != HTTPStatus.FORBIDDEN:
        return False
    start = next(response.iter_bytes(4096), b"")
    return b"<Code>AccessDenied</Code>" in start


def _refuse_truncated(name: str, response: httpx.Response) -> None:
    announced = response.headers.get("content-length", "")
    if announced.isdigit() and int(announced) != response.num_bytes_downloaded:
        raise SourceUnavailableError(
            f"{name}: {response.num_bytes_downloaded} of {announced} bytes came"
        )


def _spool(chunks: Iterable[bytes], path: Path) -> Fetched:
    digest = hashlib.sha256()
    size = 0
    give_up = time.monotonic() + LONGEST_SECONDS
    with path.open("wb") as file:
        for chunk in chunks:
            size += len(chunk)
            if size > LARGEST:
                raise SourceUnavailableError(f"{path.name}: larger than {LARGEST} bytes")
            if time.monotonic() > give_up:
                raise SourceUnavailableError(
                    f"{path.name}: only {size} bytes came in {LONGEST_SECONDS:.0f} s"
                )
            digest.update(chunk)
            file.write(chunk)
    return Fetched(path, size, digest.hexdigest())


def _fits_metadata(value: str) -> bool:
    """Whether an object's metadata can carry it: S3 allows 2 KB of printable ASCII in all."""
    return bool(value) and len(value) <= 500 and value.isascii() and value.isprintable()
