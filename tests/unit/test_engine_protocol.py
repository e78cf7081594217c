"""Launcher and engine understand each other, and nobody else."""

import contextlib
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quicksilver.engine import protocol

NO_NUL = st.binary(max_size=40).map(lambda b: b.replace(b"\0", b"x"))
NAMES = st.binary(min_size=1, max_size=12).map(lambda b: b.replace(b"\0", b"n").replace(b"=", b"e"))


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair()
    with left, right:
        left.settimeout(5)
        right.settimeout(5)
        yield left, right


@given(NO_NUL, st.integers(0, 0o777), NO_NUL, st.dictionaries(NAMES, NO_NUL, max_size=5))
def test_a_request_survives_the_way_roundtrip(
    binaries: bytes, umask: int, directory: bytes, environment: dict[bytes, bytes]
) -> None:
    sent = protocol.Request(binaries, umask, directory, environment)
    assert vars(protocol.Request.decode(sent.encode())) == vars(sent)


@given(st.binary(max_size=200))
def test_anything_else_is_refused_in_one_way_fuzz(payload: bytes) -> None:
    with contextlib.suppress(protocol.ProtocolError):
        protocol.Request.decode(payload)


def test_of_this_process_is_what_execve_would_have_handed_over() -> None:
    request = protocol.Request.of_this_process()
    assert request.environment == dict(os.environb)
    assert request.directory == os.fsencode(Path.cwd())
    umask = os.umask(request.umask)
    os.umask(umask)
    assert umask == request.umask


def test_another_version_is_named() -> None:
    with pytest.raises(protocol.ProtocolError, match="speaks version b'9'"):
        protocol.Request.decode(b"9\0/bin\0" + b"22\0/")


def test_files_travel_with_a_large_frame(
    ends: tuple[socket.socket, socket.socket], tmp_path: Path
) -> None:
    left, right = ends
    left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    payload = os.urandom(100_000)
    with (tmp_path / "f").open("wb") as file:
        protocol.send_with_files(left, protocol.REQUEST, payload, [file.fileno()] * 3)
    kind, received, files = protocol.receive_with_files(right, 3)
    assert (kind, received, len(files)) == (protocol.REQUEST, payload, 3)
    assert not any(os.get_inheritable(file) for file in files)
    os.write(files[2], b"through")
    for file in files:
        os.close(file)
    assert (tmp_path / "f").read_bytes() == b"through"


def test_files_nobody_asked_for_are_not_kept(ends: tuple[socket.socket, socket.socket]) -> None:
    left, right = ends
    before = len(list(Path("/proc/self/fd").iterdir()))
    protocol.send_with_files(left, protocol.GO, b"", [0])
    assert protocol.receive(right) == (protocol.GO, b"")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize("wire", [b"", b"R", b"R\0\0\0\x05abc"])
def test_a_hang_up_is_noticed(ends: tuple[socket.socket, socket.socket], wire: bytes) -> None:
    left, right = ends
    left.sendall(wire)
    left.shutdown(socket.SHUT_WR)
    with pytest.raises(protocol.ProtocolError, match="hung up"):
        protocol.receive(right)


def test_an_absurd_length_is_not_allocated(ends: tuple[socket.socket, socket.socket]) -> None:
    left, right = ends
    left.sendall(b"R\xff\xff\xff\xff")
    with pytest.raises(protocol.ProtocolError, match="4294967295 bytes"):
        protocol.receive(right)


def test_the_peer_is_whom_the_kernel_says(ends: tuple[socket.socket, socket.socket]) -> None:
    assert protocol.peer(ends[0]) == (os.getpid(), os.geteuid())


def test_the_socket_is_where_it_is_said_to_be(tmp_path: Path) -> None:
    said = {"QUICKSILVER_ENGINE_SOCKET": "/run/x/e.sock", "QUICKSILVER_HOME": str(tmp_path)}
    assert protocol.socket_path(said) == "/run/x/e.sock"
    assert protocol.socket_path({"QUICKSILVER_HOME": "/h"}) == "/h/run/engine.sock"
    user = f"/run/user/{os.geteuid()}"
    assert protocol.socket_path({"XDG_RUNTIME_DIR": user}) == f"{user}/run/engine.sock"


def test_a_deep_home_gets_a_short_socket_of_its_own() -> None:
    deep, deeper = ({"QUICKSILVER_HOME": "/x" * count, "TMPDIR": "/t"} for count in (60, 61))
    paths = {protocol.socket_path(deep), protocol.socket_path(deeper)}
    assert len(paths) == 2
    for path in paths:
        assert path.startswith(f"/t/quicksilver-{os.geteuid()}/engine-")
        assert len(path) <= 107


def test_a_deep_temporary_folder_is_no_help() -> None:
    deep = {"QUICKSILVER_HOME": "/x" * 60, "TMPDIR": "/x" * 60}
    assert protocol.socket_path(deep).startswith(f"/tmp/quicksilver-{os.geteuid()}/engine-")


def test_only_a_private_folder_is_trusted(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    path = str(folder / "engine.sock")
    assert protocol.private_folder(path) is None
    folder.chmod(0o750)
    assert "mode 750" in str(protocol.private_folder(path))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o750
    assert "No such file" in str(protocol.private_folder(str(tmp_path / "no" / "engine.sock")))


def test_what_an_interpreter_reads_only_at_its_start() -> None:
    environment = {
        b"PYTHONPATH": b"/a",
        b"LD_PRELOAD": b"x.so",
        b"PYTHONUNBUFFERED": b"1",
        b"PREFECT_HOME": b"/p",
    }
    expected = {b"PYTHONPATH": b"/a", b"LD_PRELOAD": b"x.so"}
    assert protocol.interpreter_variables(environment) == expected


def test_nobody_answers_a_ping_where_nobody_listens(tmp_path: Path) -> None:
    assert not protocol.ping(str(tmp_path / "engine.sock"), timeout=1)
