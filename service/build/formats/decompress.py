"""A compressed object as a stream of its content: bounded memory, whatever it expands to."""

import gzip
import io
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, cast

import cramjam
import pyarrow as pa

from quicksilver.build.formats.detect import Compression
from quicksilver.errors import BronzeFileError, QuicksilverError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_snappy: Any = cramjam.snappy

# Of the framing format (google/snappy, framing_format.txt): a stream begins with it.
_FRAMED = b"\xff\x06\x00\x00sNaPpY"
_FRAME_TYPES = (0x00, 0x01)
# Hadoop's blocks have 256 kB by default; whoever made one larger than this did not mean to be read.
_LARGEST_BLOCK = 64 * 1024 * 1024
_ASKED = 1024 * 1024


class Readable(Protocol):
    """What gives bytes."""

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes; none at the end."""
        ...


class Content(io.RawIOBase):
    """The decompressed content of an object; what is broken in it becomes a sentence."""

    def __init__(self, name: str, stream: Readable, compression: Compression) -> None:
        super().__init__()
        self._name = name
        self._stream = stream
        self._compression: Compression = compression

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """Fill the buffer, or a part of it.

        Raises:
            BronzeFileError: what is compressed there is cut short or damaged.
            ManifestChangedError, BronzeUnavailableError: as `BronzeObject.readinto`.
        """
        target = memoryview(buffer).cast("B")
        try:
            data = self._stream.read(min(len(target), _ASKED))
        except QuicksilverError:
            raise
        except (OSError, EOFError, ValueError, zlib.error, pa.ArrowException) as error:
            first = str(error).split("\n")[0].rstrip(".")
            raise BronzeFileError(
                f"{self._name} is no readable {self._compression} ({first}); upload it again"
            ) from error
        target[: len(data)] = data
        return len(data)


class _Borrowed(io.RawIOBase):
    """A stream that is somebody else's: who closes this one leaves it open."""

    def __init__(self, stream: io.RawIOBase) -> None:
        super().__init__()
        self._stream = stream

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int | None:
        """As the stream does."""
        return self._stream.readinto(buffer)


def content(name: str, raw: io.RawIOBase, compression: Compression | None) -> BinaryIO:
    """The content of an object of that compression, buffered."""
    source = io.BufferedReader(_Borrowed(raw), _ASKED)
    if compression is None:
        return source
    streams: dict[Compression, Callable[[], Readable]] = {
        Compression.GZIP: lambda: cast("Readable", gzip.GzipFile(fileobj=source)),
        Compression.ZSTD: lambda: cast("Any", pa).CompressedInputStream(source, "zstd"),
        Compression.SNAPPY: lambda: Snappy(source),
    }
    return io.BufferedReader(Content(name, streams[compression](), compression), _ASKED)


class Snappy:
    """Snappy in either of its two containers, told apart by the first bytes: frames, or Hadoop's
    blocks. One frame or block is in memory at a time."""

    def __init__(self, source: Readable) -> None:
        self._source = source
        self._started = False
        self._framed = False
        self._left = 0
        self._ready = memoryview(b"")

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes; none at the end.

        Raises:
            ValueError: cut short, or damaged.
        """
        while not self._ready:
            block = self._next()
            if block is None:
                return b""
            self._ready = memoryview(block)
        taken, self._ready = self._ready[:size], self._ready[size:]
        return bytes(taken)

    def _next(self) -> bytes | None:
        head = self._exactly(4, may_end=True)
        if head is None:
            return None
        if not self._started:
            self._started = True
            self._framed = head == _FRAMED[:4]
        return self._frame(head) if self._framed else self._block(head)

    def _frame(self, head: bytes) -> bytes:
        body = self._exactly(int.from_bytes(head[1:], "little"))
        if head[0] in _FRAME_TYPES:
            # Each as a stream of its own: so its checksum is looked at.
            return self._decoded(_snappy.decompress, _FRAMED + head + body)
        if 0x02 <= head[0] <= 0x7F:
            raise ValueError("a frame of an unknown type")
        return b""

    def _block(self, head: bytes) -> bytes:
        if self._left == 0:
            self._left = int.from_bytes(head, "big")
            if self._left == 0:
                return b""
            head = self._exactly(4)
        length = int.from_bytes(head, "big")
        if length > _LARGEST_BLOCK:
            raise ValueError("neither snappy's frames nor Hadoop's blocks")
        body = self._exactly(length)
        if self._decoded(_snappy.decompress_raw_len, body) > _LARGEST_BLOCK:
            raise ValueError(f"a block of more than {_LARGEST_BLOCK} bytes")
        block = self._decoded(_snappy.decompress_raw, body)
        self._left -= len(block)
        if self._left < 0:
            raise ValueError("a block longer than it says")
        return block

    def _decoded(self, function: Any, data: bytes) -> Any:
        try:
            found = function(data)
        except cramjam.DecompressionError as error:
            raise ValueError(str(error)) from error
        return found if isinstance(found, int) else bytes(found)

    def _exactly(self, count: int, *, may_end: bool = False) -> Any:
        data = self._source.read(count)
        if not data and may_end and self._left == 0:
            return None
        if len(data) != count:
            raise ValueError("it ends early")
        return data
