"""The process between a run and its launcher: one for each run, so that the server keeps no state.

It is forked by the server, forks the run, passes signals on and reports how the run ended. When its
launcher dies it kills the run; when it dies itself, the kernel kills the run. When the server dies,
neither it nor the run notices. A run that a worker asked for goes on when that worker dies.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
from collections.abc import Mapping
from typing import NoReturn

from quicksilver.engine import protocol
from quicksilver.engine.configuration import PrefectConfiguration
from quicksilver.engine.run import Run, rename

# A launcher sends its request right after it has connected and GO right after READY.
PATIENCE = 10.0


def supervise(  # noqa: RET503  (the supervisor's own way never returns)
    connection: socket.socket, started_with: Mapping[bytes, bytes], prefect: PrefectConfiguration
) -> Run:
    """Serve one connection. Returns in the run's own process only, never in the supervisor's.

    `started_with` is the environment in which the server's interpreter started.
    """
    rename("run-supervisor")
    connection.settimeout(PATIENCE)
    try:
        request, files, is_worker = _accept(connection, started_with)
    except OSError:
        _leave(None)  # it gave up while it waited
    except protocol.ProtocolError as error:
        _leave(f"turned away: {error}")
    supervisor = os.getpid()
    if is_worker:
        orders, order = os.pipe()
        run = _fork(connection)
        if run == 0:
            os.close(order)
            return Run(request, files, supervisor, prefect, orders)
        os.close(orders)
        _await_order(connection, order, run)
    else:
        _await_go(connection)
        run = _fork(connection)
        if run == 0:
            return Run(request, files, supervisor, prefect)
    for file in files:
        os.close(file)
    connection.settimeout(None)
    with contextlib.suppress(OSError):
        protocol.send(connection, protocol.STARTED, b"%d" % run)
    _report(connection, _relay(connection, run, outlives=is_worker))
    _leave(None)


def _accept(
    connection: socket.socket, started_with: Mapping[bytes, bytes]
) -> tuple[protocol.Request, list[int], bool]:
    kind, payload, files = protocol.receive_with_files(connection, 3)
    if kind == protocol.PING:
        protocol.send(connection, protocol.READY)
        _leave(None)
    if kind not in (protocol.REQUEST, protocol.WORKER) or len(files) != 3:
        raise protocol.ProtocolError(f"frame {kind!r} with {len(files)} files is no request")
    request = protocol.Request.decode(payload)
    if reason := _unfit(request, started_with):
        protocol.send(connection, protocol.REFUSED, reason.encode())
        _leave(reason)
    protocol.send(connection, protocol.READY)
    return request, files, kind == protocol.WORKER


def _fork(connection: socket.socket) -> int:
    try:
        run = os.fork()
    except OSError as error:
        # The other side cannot fall back: the run ends like one whose process could not start.
        _report(connection, 1 << 8)
        _leave(f"the run could not be forked: {error}")
    if run == 0:
        connection.close()
    return run


def _await_go(connection: socket.socket) -> None:
    signals: list[int] = []
    try:
        while (frame := protocol.receive(connection))[0] != protocol.GO:
            signals += frame[1]
    except (OSError, protocol.ProtocolError):
        _leave(None)  # the launcher gave up and runs, or is, something else by now
    if signals:
        _report(connection, signals[0])
        _leave(None)


def _await_order(connection: socket.socket, order: int, child: int) -> None:
    """Wait for GO and what comes with it, and pass it to the child that was forked before it."""
    connection.settimeout(None)
    try:
        payload = protocol.receive(connection)[1]
    except (OSError, protocol.ProtocolError):
        # The worker found no run for it: the child ends with the pipe.
        os.close(order)
        os.waitpid(child, 0)
        _leave(None)
    with contextlib.suppress(OSError), os.fdopen(order, "wb") as pipe:
        pipe.write(payload)


def _unfit(request: protocol.Request, started_with: Mapping[bytes, bytes]) -> str | None:
    """Why a fork of this interpreter does not fit the launcher's request, or None."""
    if request.binaries != protocol.binaries():
        return f"it runs {os.fsdecode(protocol.binaries())}, not {os.fsdecode(request.binaries)}"
    ours = protocol.interpreter_variables(started_with)
    theirs = protocol.interpreter_variables(request.environment)
    if differing := {name for name, _ in ours.items() ^ theirs.items()}:
        names = ", ".join(sorted(os.fsdecode(name) for name in differing))
        return f"{names} differ between the engine's environment and the run's"
    return None


def _relay(connection: socket.socket, run: int, *, outlives: bool) -> int:
    """Pass signals on until the run has ended; its wait status.

    With `outlives` the run goes on when its worker is gone.
    """
    ended = os.pidfd_open(run)
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    poll.register(connection, select.POLLIN)
    while True:
        events = dict(poll.poll())
        if ended in events:
            return os.waitpid(run, 0)[1]
        try:
            _, payload = protocol.receive(connection)
        except (OSError, protocol.ProtocolError):
            poll.unregister(connection)
            if outlives:
                continue
            # kill -9 of the stock engine ends the run at once: so does kill -9 of the launcher. Its
            # whole session is killed, because no process is left to wait for its children.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(run, signal.SIGKILL)
            # The group exists only once the run has made its session.
            os.kill(run, signal.SIGKILL)
            continue
        for number in payload:
            os.kill(run, number)  # not yet waited for, so the id is still the run's


def _report(connection: socket.socket, status: int) -> None:
    with contextlib.suppress(OSError):
        protocol.send(connection, protocol.EXITED, b"%d" % status)


def _leave(message: str | None) -> NoReturn:
    """End the supervisor without running anything that the preloaded modules left for exit."""
    if message:
        print(f"engine: {message}", file=sys.stderr, flush=True)
    os._exit(0)
