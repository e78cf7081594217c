"""The engine server: `python -m quicksilver.engine.server`.

Imports everything a run needs, then forks one supervisor (`supervisor.py`) for each connection. It
keeps no thread, client or state of a run: killing it ends no run. When code on disk changes it
replaces itself by a fresh copy (exec, same process id, same listening socket), and no request is
lost, because new connections wait in the socket's backlog meanwhile.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import gc
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from quicksilver.engine import protocol
from quicksilver.engine.configuration import PrefectConfiguration
from quicksilver.engine.preload import (
    DEFAULT_HOOKS,
    DEFAULT_MODULES,
    QUIETING,
    DisturbedError,
    assert_quiet,
    preload,
)
from quicksilver.engine.run import Run, leave_without_teardown
from quicksilver.engine.sources import Sources
from quicksilver.engine.supervisor import supervise
from quicksilver.support.project import PACKAGE, PROJECT_VARIABLE, project_folder, shipped

# Names the listening socket and the lock that a reload hands to its successor.
INHERITED = "QUICKSILVER_ENGINE_INHERITED"
STOPPING = (signal.SIGTERM, signal.SIGINT)
# Folders of which any file counts, imported or not: the project's flows and dbt's models, and the
# package's SQL, which its modules read.
OF_THE_PROJECT = ("flows", "analytics")
OF_THE_PACKAGE = ("ledger", "warehouse", "build")
# Changed code is reloaded once it stays the same between two checks, before the next run asks for
# it. Costs 0.1 % of a core.
SCAN_SECONDS = 2.0
# Launchers wait here during a reload; a worker's limit is far lower.
BACKLOG = 512
EX_UNAVAILABLE, EX_TEMPFAIL, EX_CONFIG = 69, 75, 78


def say(message: str) -> None:
    """One line to stderr, which the stack keeps in the engine's log file."""
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} engine: {message}", file=sys.stderr, flush=True)


class Server:
    """The listening socket, the lock that makes it the only one, and the loop around fork."""

    def __init__(
        self, path: Path, modules: Sequence[str], hooks: Sequence[str], watched: Sequence[Path]
    ) -> None:
        self._path = path
        self._modules = modules
        self._hooks = hooks
        self._watched = watched
        self._started_with = dict(os.environb)
        self._listener, self._lock = self._inherit() or self._open()
        self._own = (self._listener.fileno(), self._lock)

    def warm_up(self) -> None:
        """Import everything. Raises DisturbedError when a module is not fit to be forked."""
        # A reload inherits that children are ignored; code that waits for one here must find it.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # Before the imports: what is written while they run counts as changed.
        self._sources = Sources(self._watched, [PACKAGE])
        os.environ.update({k: v for k, v in QUIETING.items() if k not in os.environ})
        begin = time.perf_counter()
        gc.disable()
        preload(self._modules, self._hooks, say, self._own)
        self._sources.note_imports()
        self._prefect = PrefectConfiguration()
        gc.collect()
        # What is frozen is never traversed, so collections in a run do not copy its pages.
        gc.freeze()
        gc.enable()
        say(f"warm after {time.perf_counter() - begin:.1f} s, serving {self._path}")

    def serve(self) -> Run:
        """Fork for each connection, until SIGTERM. Returns in a run's own process only."""
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        # No caller waits for a supervisor's exit status, so the kernel drops it; supervisors that
        # ended while a reload was importing are reaped here.
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        while True:
            waiting = poll.poll(SCAN_SECONDS * 1000)
            # A developer saves often: while no run waits for it, a reload can wait as well.
            if self._sources.changed() if waiting else self._sources.settled():
                self._reload("the code on disk has changed")
            if waiting and (run := self._fork()):
                return run

    def _fork(self) -> Run | None:
        # The code was looked at before the accept: a reload finds the connection in the backlog.
        try:
            assert_quiet(self._own, "serving")
        except DisturbedError as error:
            self._reload(str(error))
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return None  # it gave up while it waited
        # The child must not take the server's way of stopping.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
        try:
            child = os.fork()
        except OSError as error:
            say(f"no process for a run, its launcher turns to the stock engine: {error}")
            child = -1
        if child == 0:
            return self._become_supervisor(connection)
        connection.close()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
        return None

    def _become_supervisor(self, connection: socket.socket) -> Run:
        for number in (*STOPPING, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
        os.setsid()  # out of the server's group: what stops the server must not stop runs
        self._listener.close()
        os.close(self._lock)
        pid, user = protocol.peer(connection)
        if user != os.geteuid():
            say(f"process {pid} of user {user} was turned away")
            os._exit(0)
        return supervise(connection, self._started_with, self._prefect)

    def _inherit(self) -> tuple[socket.socket, int] | None:
        handed_over = os.environ.pop(INHERITED, None)
        if handed_over is None:
            return None
        self._started_with.pop(INHERITED.encode(), None)
        listener, lock = map(int, handed_over.split(","))
        for file in (listener, lock):
            os.set_inheritable(file, False)
        return socket.socket(fileno=listener), lock

    def _open(self) -> tuple[socket.socket, int]:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if doubt := protocol.private_folder(str(self._path)):
            say(f"refusing to listen: {doubt}. Make it mode 0700 and your own")
            sys.exit(EX_CONFIG)
        lock = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say(f"another engine serves {self._path}; stop it or give --socket another path")
            sys.exit(EX_TEMPFAIL)
        self._path.unlink(missing_ok=True)  # left by one that was killed: the lock was free
        listener = socket.socket(socket.AF_UNIX)
        before = os.umask(0o177)
        try:
            listener.bind(str(self._path))
        finally:
            os.umask(before)
        listener.listen(BACKLOG)
        return listener, lock

    def _reload(self, reason: str) -> NoReturn:
        say(f"{reason}: starting anew")
        environment = dict(self._started_with)
        environment[INHERITED.encode()] = b"%d,%d" % self._own
        for file in self._own:
            os.set_inheritable(file, True)
        arguments = [sys.executable, *sys.orig_argv[1:]]
        os.execve(sys.executable, arguments, environment)  # noqa: S606

    def _stop(self, _number: int, _frame: object) -> NoReturn:
        self.close()
        os._exit(0)

    def close(self) -> None:
        """Take the socket away, so that launchers turn to the stock engine without waiting."""
        self._path.unlink(missing_ok=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and serve; `--ping` only asks whether an engine serves."""
    parser = argparse.ArgumentParser(
        prog="python -m quicksilver.engine.server", description=__doc__
    )
    parser.add_argument("--socket", default=protocol.socket_path(os.environ), type=os.path.abspath)
    parser.add_argument("--preload", action="append", metavar="MODULE", help="instead of the usual")
    parser.add_argument("--hook", action="append", metavar="MODULE", help="whose preload() to call")
    parser.add_argument("--watch", action="append", metavar="FOLDER", type=Path)
    parser.add_argument("--ping", action="store_true", help="exit 0 if an engine is warm, else 1")
    options = parser.parse_args(arguments)
    if options.ping:
        sys.exit(not protocol.ping(options.socket, timeout=5.0))
    if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
        say("the warm engine needs Linux 5.3; launchers start the stock engine here")
        sys.exit(EX_UNAVAILABLE)
    leave_without_teardown()
    project = project_folder()
    # Its runs find the same one, wherever they stand.
    os.environ[PROJECT_VARIABLE] = str(project)
    watched = options.watch or [
        *(project / name for name in OF_THE_PROJECT),
        *(PACKAGE / name for name in OF_THE_PACKAGE),
        shipped("flows"),
    ]
    modules, hooks = options.preload or DEFAULT_MODULES, options.hook or DEFAULT_HOOKS
    if options.preload and not options.hook:
        hooks = ()
    server = Server(Path(options.socket), modules, hooks, watched)
    try:
        server.warm_up()
    except DisturbedError as error:
        server.close()
        say(f"refusing to serve: {error}. Leave it out with --preload, or keep it from doing so")
        sys.exit(EX_CONFIG)
    run = server.serve()
    # The server's frames are all left: from here on the process ends as the run does.
    run.start()


def _close_strays() -> None:
    """Close what a terminal or supervisor left open: it would be copied into every run."""
    begin = 3
    for kept in sorted(map(int, filter(None, os.environ.get(INHERITED, "").split(",")))):
        os.closerange(begin, kept)
        begin = kept + 1
    os.closerange(begin, os.sysconf("SC_OPEN_MAX"))


if __name__ == "__main__":
    _close_strays()
    main()
