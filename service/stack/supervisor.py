"""The stack's supervisor: restarts what dies, and takes everything with it when it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import psutil
from supervisor.xmlrpc import SupervisorTransport

from quicksilver.stack.configuration import log_name, supervisor_configuration
from quicksilver.stack.errors import StackError
from quicksilver.stack.files import last_lines, open_private, write_private
from quicksilver.stack.home import Home
from quicksilver.stack.program import Program, child_command

_GUARDIAN = Path(__file__).with_name("guardian.py")
_POLL = 0.05
# The supervisor notices an ended program within a second at worst.
_SHUTDOWN_SLACK = 6.0
_SWEEP_SLACK = 15.0


def listens(pid: int, port: int) -> bool:
    """Whether a process, or one that it started, listens on this port."""
    try:
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            for connection in each.net_connections(kind="tcp"):
                if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
                    return True
    except psutil.Error:
        return False
    return False


@dataclass(frozen=True, slots=True)
class Status:
    """What the supervisor says about a program."""

    state: str
    pid: int
    # Seconds since the epoch; another value means that it was started again.
    started_at: int


class Supervisor:
    """One `supervisord` in the foreground of its own session, driven over its unix socket."""

    def __init__(self, home: Home, programs: Sequence[Program]) -> None:
        self._home = home
        self._programs = programs
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id of the supervisor's guardian, which lives until all has ended.

        Raises:
            StackError: when it was not started.
        """
        if self._process is None:
            raise StackError("the supervisor was not started")
        return self._process.pid

    @property
    def _patience(self) -> float:
        return sum(program.stop_within for program in self._programs) + _SHUTDOWN_SLACK

    def _command(self, configuration: Path) -> list[str]:
        """Both through `child.py`: neither may outlive its parent."""
        run = self._home.run
        itself = Program(
            name="supervisord",
            command=(
                *(sys.executable, "-m", "supervisor.supervisord"),
                *("--nodaemon", "--configuration", str(configuration)),
            ),
            env=self._home.base_environment(),
            cwd=self._home.folder,
        )
        guardian = Program(
            name="guardian",
            command=(
                # By its path: the package's import would take the memory that it spares.
                *(sys.executable, "-P", str(_GUARDIAN)),
                *(str(self._home.folder), str(self._patience)),
                *child_command(run / itself.write_specification(run)),
            ),
            env=self._home.base_environment(),
            cwd=self._home.folder,
        )
        return child_command(run / guardian.write_specification(run))

    def launch(self) -> None:
        """Start it, with no program running yet.

        Raises:
            StackError: when it does not answer.
        """
        configuration = self._home.run / "supervisord.conf"
        write_private(configuration, supervisor_configuration(self._home, self._programs))
        self._home.socket.unlink(missing_ok=True)
        log = self._home.logs / "supervisord.out"
        with open_private(log) as output:
            # Its own session: a Ctrl-C in the terminal reaches `quicksilver up` alone, which then
            # stops everything in order.
            self._process = subprocess.Popen(
                self._command(configuration),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + 20
        while True:
            try:
                self._call("getState")
            except (OSError, HTTPException, xmlrpc.client.Error) as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise StackError(
                        f"the supervisor did not start; the end of {log}:\n{last_lines(log)}"
                    ) from error
                time.sleep(_POLL)
            else:
                return

    def _call(self, method: str, *arguments: object) -> Any:
        # A connection for each call: one that failed once stays unusable.
        transport = SupervisorTransport(
            "quicksilver", self._home.credentials.supervisor_password, f"unix://{self._home.socket}"
        )
        try:
            server: Any = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)
            return getattr(server.supervisor, method)(*arguments)
        finally:
            transport.close()

    def log(self, name: str) -> Path:
        """A program's log file."""
        return self._home.logs / log_name(name)

    def status(self, name: str) -> Status:
        """What has become of a program.

        Raises:
            StackError: when the supervisor does not answer.
        """
        try:
            info: dict[str, Any] = self._call("getProcessInfo", name)
        except (OSError, HTTPException, xmlrpc.client.Error) as error:
            raise StackError(f"the supervisor does not answer about {name}: {error}") from error
        return Status(
            state=str(info["statename"]), pid=int(info["pid"]), started_at=int(info["start"])
        )

    def start(self, program: Program) -> None:
        """Have a program started; returns at once.

        Raises:
            StackError: when the supervisor refuses.
        """
        try:
            self._call("startProcess", program.name, False)
        except (OSError, HTTPException, xmlrpc.client.Error) as error:
            raise StackError(f"{program.name} could not be started: {error}") from error

    def await_ready(self, program: Program) -> None:
        """Wait until a program that was started is ready.

        Raises:
            StackError: when it ends or is not ready in time; with the end of its log.
        """
        deadline = time.monotonic() + program.start_within
        starts: set[int] = set()
        # A port that a connection held for a moment is worth another try; an optional program is
        # not worth waiting for.
        tries = 1 if program.optional else 3
        while True:
            status = self.status(program.name)
            if program.ready() and (program.port is None or listens(status.pid, program.port)):
                return
            starts.add(status.started_at)
            given_up = status.state in ("BACKOFF", "EXITED", "FATAL") and len(starts) >= tries
            if given_up or len(starts) > tries:
                raise self._failure(program, "ended while it was starting")
            if time.monotonic() > deadline:
                raise self._failure(program, f"was not ready in {program.start_within:.0f} s")
            time.sleep(_POLL)

    def _failure(self, program: Program, what: str) -> StackError:
        log = self.log(program.name)
        return StackError(f"{program.name} {what}; the end of {log}:\n{last_lines(log)}")

    def stop_program(self, name: str) -> None:
        """Stop one program and wait for its end; it stays stopped.

        Raises:
            StackError: when the supervisor refuses.
        """
        try:
            self._call("stopProcess", name, True)
        except (OSError, HTTPException, xmlrpc.client.Error) as error:
            raise StackError(f"{name} could not be stopped: {error}") from error

    def is_alive(self) -> bool:
        """Whether the supervisor runs, or is being cleared up after."""
        return self._process is not None and self._process.poll() is None

    def shutdown(self) -> None:
        """Stop every program, the last one first, then the supervisor; kill what does not end."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            # The guardian ends what the supervisor leaves, and waits for it as well.
            self._process.wait(self._patience + _SWEEP_SLACK)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._home.socket.unlink(missing_ok=True)
