"""The work pool's `command`: hands its run over to the warm engine and waits for the run's end.

Prefect's worker starts it as `python -I -S launcher.py` in the place of `python -m prefect.engine`
and treats it as the run: its process id is the run's infrastructure, signals to it reach the run,
its exit code or fatal signal is the run's. Without an engine it becomes the stock command by exec.
"""
# Importing pathlib and contextlib would cost each run's start several milliseconds.
# ruff: noqa: PTH100, PTH103, PTH116, PTH120, PTH123, SIM105

from __future__ import annotations

import os
import signal
import socket
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

if TYPE_CHECKING or __name__ != "__main__":
    from quicksilver.engine import protocol
else:
    # Started without site-packages, where the package itself cannot be imported.
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import protocol

# An engine that reloads changed code (4 s, or many times that on a busy machine) is ready before a
# stock engine that would begin the same imports now; beyond this it must be stuck.
PATIENCE = 30.0
# One line a minute is as useful to an operator as one line for each run.
SILENCE = 60.0
FORWARDED = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
# EX_SOFTWARE: the supervisor of the run was killed and the kernel killed the run with it.
SUPERVISOR_LOST = 70


class EngineUnavailableError(Exception):
    """No warm engine took the run, and none will: the message is the reason."""


def main() -> int:
    """Run the flow run that the environment names; returns its exit code."""
    path = protocol.socket_path(os.environ)
    try:
        connection = hand_over(path, protocol.Request.of_this_process())
    except EngineUnavailableError as reason:
        return become_stock_engine(path, str(reason))
    return end_like(await_end(connection))


def hand_over(
    path: str,
    request: protocol.Request,
    files: Sequence[int] = (0, 1, 2),
    kind: bytes = protocol.REQUEST,
) -> socket.socket:
    """Offer a run to the engine at `path`; the connection comes back once the engine is ready.

    `files` become the run's standard streams. Raises EngineUnavailableError.
    """
    if sys.platform != "linux":
        raise EngineUnavailableError(f"it needs Linux, this is {sys.platform}")
    if doubt := protocol.private_folder(path):
        raise EngineUnavailableError(doubt)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(PATIENCE)
    try:
        connection.connect(path)
        if protocol.peer(connection)[1] != os.geteuid():
            raise EngineUnavailableError(f"{path} is served by another user")
        protocol.send_with_files(connection, kind, request.encode(), [*files])
        answer, reason = protocol.receive(connection)
    except TimeoutError:
        raise EngineUnavailableError(f"it did not answer for {PATIENCE:.0f} s") from None
    except OSError as error:
        raise EngineUnavailableError(f"{path}: {error.strerror}") from None
    except protocol.ProtocolError as error:
        raise EngineUnavailableError(f"{path}: {error}") from None
    if answer != protocol.READY:
        raise EngineUnavailableError(reason.decode(errors="replace"))
    connection.settimeout(None)
    return connection


def await_end(connection: socket.socket) -> int | None:
    """Start the run, forward signals, return its wait status; None when its supervisor died."""

    def forward(number: int, _frame: object) -> None:
        try:
            protocol.send(connection, protocol.SIGNAL, bytes([number]))
        except OSError:
            pass  # the run has just ended; its status is already in the connection

    for number in FORWARDED:
        # What the worker had ignored for its children (nohup) stays ignored.
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, forward)
    try:
        protocol.send(connection, protocol.GO)
        while True:
            kind, payload = protocol.receive(connection)
            if kind == protocol.EXITED:
                return int(payload)
    except (OSError, protocol.ProtocolError):
        return None


def end_like(status: int | None) -> int:
    """The exit code for a run's wait status; a run killed by a signal takes this process along."""
    if status is None:
        print("quicksilver: the run's supervisor was killed, and the run with it", file=sys.stderr)
        return SUPERVISOR_LOST
    if not os.WIFSIGNALED(status):
        return os.waitstatus_to_exitcode(status)
    import resource  # the rare way out must not slow down the common one

    number = os.WTERMSIG(status)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the dump of interest is the run's
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
    os.kill(os.getpid(), number)
    return 128 + number


def become_stock_engine(path: str, reason: str) -> NoReturn:
    """Replace this process by `python -m prefect.engine`, and say so once a minute."""
    marker = path + ".missed"
    try:
        silent = time.time() - os.stat(marker).st_mtime < SILENCE
    except OSError:
        silent = False
    if not silent:
        print(
            f"quicksilver: no warm engine ({reason}); runs start with the stock engine, "
            "seconds later. Is `python -m quicksilver.engine.server` running?",
            file=sys.stderr,
            flush=True,
        )
        try:
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            with open(marker, "wb"):
                os.utime(marker)
        except OSError:
            pass  # then every run logs it
    os.execv(sys.executable, [sys.executable, "-m", "prefect.engine"])  # noqa: S606


if __name__ == "__main__":
    sys.exit(main())
