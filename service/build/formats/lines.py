"""Lines of a stream, each bounded: a file without line ends is not read into memory."""

from collections.abc import Iterator
from typing import BinaryIO

from quicksilver.errors import BronzeFileError

# No record that is meant to be one is longer.
LONGEST = 16 * 1024 * 1024


def lines(name: str, stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Number (from 1) and content of every line that is not blank.

    Raises:
        BronzeFileError: a line is longer than 16 MiB.
    """
    number = 0
    while line := stream.readline(LONGEST + 1):
        number += 1
        if len(line) > LONGEST:
            raise BronzeFileError(
                f"{name}: line {number} is longer than {LONGEST} bytes; is it JSON with a record a"
                " line? Correct the file and upload it again"
            )
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if line.strip():
            yield number, line
