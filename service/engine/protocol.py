"""The protocol of launcher and engine over their Unix socket.

Standard library only, and as little of it as possible: the launcher starts with every run.

    launcher                      engine (the run's supervisor)
    REQUEST + stdin/stdout/stderr ->
                                  <- READY, or REFUSED with the reason
    GO                            ->          only now the run is forked: a launcher that gives up
                                  <- STARTED with its process id
    SIGNAL n, any number          ->          before GO knows that no run was or will be started
                                  <- EXITED with the wait status

Either side notices the other's death as the end of the connection.

A worker speaks for itself, without a launcher. It sends WORKER in the place of REQUEST, for a run
that it does not know yet: the run's own request comes with GO, so that its child is forked, and has
Prefect's client open, by then. Its run outlives it, as a run of Prefect's own worker does.
"""
# Importing pathlib would cost each run's start several milliseconds.
# ruff: noqa: PTH100, PTH109, PTH116, PTH118, PTH120

from __future__ import annotations

import array
import os
import socket
import struct
import sys
import zlib

TYPE_CHECKING = False  # `typing` costs the launcher two milliseconds
if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = b"1"
REQUEST, READY, REFUSED, GO, SIGNAL, EXITED, PING = b"R", b"Y", b"N", b"G", b"S", b"X", b"?"
WORKER, STARTED = b"W", b"P"

SOCKET_VARIABLE = "QUICKSILVER_ENGINE_SOCKET"
# The flow run as JSON, from a worker that has just read it; the run takes it out again.
FLOW_RUN_VARIABLE = "QUICKSILVER__FLOW_RUN"
# The kernel's sun_path has 108 bytes with the closing NUL.
_LONGEST_PATH = 107
# An environment is far below this; a peer that announces more is not our launcher.
_LONGEST_FRAME = 16 * 1024 * 1024
HEADER = struct.Struct("!cI")
_PEER = struct.Struct("3i")
# Of the interpreter's own variables, those that a running interpreter can still honour.
_HONOURED_LATE = frozenset({b"PYTHONUNBUFFERED", b"PYTHONDONTWRITEBYTECODE"})


class ProtocolError(Exception):
    """The other side hung up or violated the protocol."""


class Request:
    """What a run inherits from its launcher, as `execve` would have handed it over."""

    def __init__(
        self, binaries: bytes, umask: int, directory: bytes, environment: dict[bytes, bytes]
    ) -> None:
        self.binaries = binaries
        self.umask = umask
        self.directory = directory
        self.environment = environment

    @classmethod
    def of_this_process(cls) -> Request:
        """The request that makes the run a continuation of the calling process."""
        umask = os.umask(0o077)
        os.umask(umask)
        return cls(binaries(), umask, os.getcwdb(), dict(os.environb))

    def encode(self) -> bytes:
        """One payload; NUL separates the parts, because they cannot contain it."""
        pairs = [name + b"=" + value for name, value in self.environment.items()]
        return b"\0".join(
            [VERSION, self.binaries, b"%o" % self.umask, self.directory, *pairs],
        )

    @classmethod
    def decode(cls, payload: bytes) -> Request:
        """Raises ProtocolError for anything but what `encode` makes."""
        try:
            version, binaries, umask, directory, *pairs = payload.split(b"\0")
            if version != VERSION:
                raise ProtocolError(f"the launcher speaks version {version!r}, I speak {VERSION!r}")
            environment = dict(pair.split(b"=", 1) for pair in pairs)
            return cls(binaries, int(umask, 8), directory, environment)
        except ValueError as error:
            raise ProtocolError(f"not a launcher's request: {error}") from error


def binaries() -> bytes:
    """The folder of the running interpreter, which identifies the virtual environment."""
    return os.fsencode(os.path.realpath(os.path.dirname(sys.executable)))


def interpreter_variables(environment: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """The variables that Python and the loader read once, at start, so that a fork is too late."""
    return {
        name: value
        for name, value in environment.items()
        if name.startswith((b"PYTHON", b"LD_")) and name not in _HONOURED_LATE
    }


def socket_path(environment: Mapping[str, str]) -> str:
    """Where the engine listens: QUICKSILVER_ENGINE_SOCKET, else under QUICKSILVER_HOME, else
    the user's runtime folder. Always absolute and short enough for the kernel.

    Relative paths are taken from QUICKSILVER_PROJECT: launchers stand in temporary folders.
    """
    project = environment.get("QUICKSILVER_PROJECT") or os.getcwd()
    if path := environment.get(SOCKET_VARIABLE):
        return os.path.abspath(os.path.join(project, path))
    # A 0700 folder, and the owner is checked.
    own = f"quicksilver-{os.geteuid()}"
    runtimes = [
        environment.get("XDG_RUNTIME_DIR"),
        os.path.join(environment.get("TMPDIR") or "/tmp", own),  # noqa: S108
        os.path.join("/tmp", own),  # noqa: S108  in case TMPDIR is too deep
    ]
    runtime, *_ = found = [runtime for runtime in runtimes if runtime]
    home = os.path.abspath(os.path.join(project, environment.get("QUICKSILVER_HOME") or runtime))
    short = f"engine-{zlib.crc32(os.fsencode(home)):08x}.sock"
    paths = [os.path.join(home, "run", "engine.sock"), *(os.path.join(at, short) for at in found)]
    return next(path for path in paths if len(os.fsencode(path)) <= _LONGEST_PATH)


def private_folder(path: str) -> str | None:
    """Why the folder of `path` cannot be trusted with an environment full of secrets, or None."""
    folder = os.path.dirname(path)
    try:
        found = os.stat(folder)
    except OSError as error:
        return f"{folder}: {error.strerror}"
    if found.st_uid != os.geteuid():
        return f"{folder} belongs to user {found.st_uid}"
    if found.st_mode & 0o077:
        return f"{folder} is open to other users (mode {found.st_mode & 0o777:o})"
    return None


def peer(connection: socket.socket) -> tuple[int, int]:
    """Process id and user id of the other side, as the kernel recorded them at connect."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    pid, uid, _gid = _PEER.unpack(raw)
    return pid, uid


def send(connection: socket.socket, kind: bytes, payload: bytes = b"") -> None:
    """Send one frame. Raises OSError when the other side is gone."""
    connection.sendall(HEADER.pack(kind, len(payload)) + payload)


def send_with_files(
    connection: socket.socket, kind: bytes, payload: bytes, files: list[int]
) -> None:
    """Send one frame whose first byte carries open file descriptors."""
    frame = HEADER.pack(kind, len(payload)) + payload
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))]
    sent = connection.sendmsg([frame], rights)
    connection.sendall(frame[sent:])


def receive(connection: socket.socket) -> tuple[bytes, bytes]:
    """The next frame as (kind, payload). Raises ProtocolError at the end of the connection."""
    kind, payload, files = receive_with_files(connection, 0)
    for unexpected in files:
        os.close(unexpected)
    return kind, payload


def receive_with_files(connection: socket.socket, most: int) -> tuple[bytes, bytes, list[int]]:
    """The next frame and up to `most` descriptors that came with it."""
    files = array.array("i")
    head, ancillary, _flags, _address = connection.recvmsg(
        1, socket.CMSG_SPACE(max(most, 1) * files.itemsize), socket.MSG_CMSG_CLOEXEC
    )
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            files.frombytes(data[: len(data) - len(data) % files.itemsize])
    if not head:
        raise ProtocolError("the other side hung up")
    kind, length = HEADER.unpack(head + _exactly(connection, HEADER.size - 1))
    if length > _LONGEST_FRAME:
        raise ProtocolError(f"a frame of {length} bytes was announced")
    return kind, _exactly(connection, length), list(files)


def _exactly(connection: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = connection.recv(min(size - len(parts), 1 << 16))
        if not part:
            raise ProtocolError("the other side hung up in the middle of a frame")
        parts += part
    return bytes(parts)


def ping(path: str, timeout: float) -> bool:
    """Whether an engine that has finished its imports answers at `path` within `timeout` s."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(path)
            send(connection, PING)
            return receive(connection)[0] == READY
        except (OSError, ProtocolError):
            return False
