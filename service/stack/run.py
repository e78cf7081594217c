"""The embedded stack as one object: start its parts in order, keep them running, stop them."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout

from quicksilver.errors import QuicksilverError
from quicksilver.stack.errors import StackError, StackRunningError
from quicksilver.stack.files import home_folder, private_folder
from quicksilver.stack.home import Home
from quicksilver.stack.parts import (
    LATE_STORES,
    OWN_SERVICES,
    PARTS,
    make_programs,
    with_needs,
)
from quicksilver.stack.ports import Reservations
from quicksilver.stack.postgres import create_databases
from quicksilver.stack.program import Program
from quicksilver.stack.state import (
    DEFAULT_PORTS,
    ProcessMark,
    Running,
    home_lock,
    load_running,
    prepare_credentials,
    save_running,
)
from quicksilver.stack.strays import end_strays
from quicksilver.stack.supervisor import Supervisor

# Given the environment that reaches the stack; may raise QuicksilverError.
Step = Callable[[Mapping[str, str]], None]
Say = Callable[[str], None]


def _silent(_: str) -> None:
    return None


class EmbeddedStack:
    """Postgres, MinIO, Prefect, the service and a worker, or some of them, in one home.

    Use it as a context manager, or call `start` and `stop`. One process at a time runs a home.

    Args:
        folder: the home; made when it is not there.
        parts: which of `PARTS`; what a part needs is added.
        ports: the usual port of each part; `None` draws a free one.
        limit: how many flow runs the worker has at once.
        after_databases: steps once the databases are there, while Prefect still starts.
        after_servers: steps once MinIO and Prefect answer, before the service starts.
        extra: further programs, made for the home; started after the service, before the worker.
        beside: settings of the user's own MinIO and Prefect, by variable: the stack uses them, and
            starts neither MinIO, Prefect nor a worker.
        say: where one line about each stage goes.
        store: what holds bronze, one of `STORES`; it takes the place of the part `minio`.
        after_store: steps once a store answers that starts behind the service.
    """

    def __init__(
        self,
        folder: Path,
        *,
        parts: Collection[str] = PARTS,
        ports: Mapping[str, int | None] | None = DEFAULT_PORTS,
        limit: int = 4,
        after_databases: Sequence[Step] = (),
        after_servers: Sequence[Step] = (),
        extra: Sequence[Callable[[Home], Program]] = (),
        beside: Mapping[str, str] | None = None,
        say: Say = _silent,
        store: str = "minio",
        after_store: Sequence[Step] = (),
    ) -> None:
        self.folder = folder.expanduser().resolve()
        self._parts = with_needs(parts if beside is None else OWN_SERVICES, store)
        self._beside = beside
        self._reservations = Reservations()
        self._store = store
        self._after_store = after_store
        self._ports = ports
        self._limit = limit
        self._after_databases = after_databases
        self._after_servers = after_servers
        self._extra = extra
        self._say = say
        self._home: Home | None = None
        self._lock: FileLock | None = None
        self._supervisor: Supervisor | None = None
        self._programs: dict[str, Program] = {}

    @property
    def home(self) -> Home:
        """Paths, addresses and credentials.

        Raises:
            StackError: before `start`.
        """
        if self._home is None:
            raise StackError("the embedded stack was not started")
        return self._home

    @property
    def supervisor(self) -> Supervisor:
        """The supervisor of the programs.

        Raises:
            StackError: before `start`.
        """
        if self._supervisor is None:
            raise StackError("the embedded stack was not started")
        return self._supervisor

    def environment(self) -> dict[str, str]:
        """Every setting that reaches this stack."""
        return self.home.environment()

    def start(self) -> None:
        """Start every part, in order; on any failure what was started is stopped again.

        Raises:
            StackRunningError: when a stack runs in this home already.
            StackError: when a part does not become ready; it names the part and its log.
        """
        home_folder(self.folder)
        self._take_lock()
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _take_lock(self) -> None:
        running = load_running(self.folder)
        lock = home_lock(self.folder)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            pid = f" (process {running.owner.pid})" if running else ""
            raise StackRunningError(
                f"a stack runs already in {self.folder}{pid}: `quicksilver down` stops it, or set"
                " QUICKSILVER_HOME to another folder"
            ) from None
        self._lock = lock
        guardian = running.guardian if running else None
        if guardian and (left := guardian.find()):
            # Its owner was killed: it is taking its programs down by itself.
            self._say("waiting for the stack of an earlier run to end")
            left.terminate()
            _await(lambda: guardian.find() is None, 45.0)
        if ended := end_strays(self.folder):
            self._say(f"ended {ended} processes that an earlier run had left")

    def _start(self) -> None:
        credentials = prepare_credentials(
            self.folder, self._reservations, defaults=self._ports, store=self._store
        )
        home = Home(self.folder, credentials, self._beside)
        private_folder(home.logs)
        home.prepare_temporary()
        self._home = home
        beside = None if self._beside is None else dict(self._beside)
        save_running(self.folder, Running(owner=ProcessMark.of_this(), beside=beside))
        programs = make_programs(home, self._parts, limit=self._limit, extra=self._extra)
        self._programs = {program.name: program for program in programs}
        self._supervisor = Supervisor(home, list(self._programs.values()))
        self._supervisor.launch()
        save_running(
            self.folder,
            Running(
                owner=ProcessMark.of_this(),
                guardian=ProcessMark.of(self._supervisor.pid),
                beside=beside,
            ),
        )
        # MinIO and Prefect do not need each other: they start side by side.
        self._launch("postgres", "minio")
        if "postgres" in self._parts:
            self._await("postgres")
            create_databases(home)
        # The engine imports for seconds and needs no other part: it starts early.
        self._launch("prefect", "engine")
        self._take(self._after_databases)
        self._await("minio", "prefect")
        self._take(self._after_servers)
        rest = [name for name in self._programs if name not in ("postgres", "minio", "prefect")]
        if self._store in LATE_STORES:
            for name in ("service", self._store):
                self._launch(name)
                self._await(name)
                rest = [other for other in rest if other != name]
            self._take(self._after_store)
        self._launch(*(name for name in rest if name != "engine"))
        self._await(*rest)

    def _launch(self, *names: str) -> None:
        for name in names:
            if program := self._programs.get(name):
                self.supervisor.start(program)

    def _await(self, *names: str) -> None:
        for name in names:
            if program := self._programs.get(name):
                began = time.monotonic()
                try:
                    self.supervisor.await_ready(program)
                except StackError as error:
                    if not program.optional:
                        raise
                    self._say(f"going on without {name} for now: {error}")
                else:
                    self._say(f"{name} ready after {time.monotonic() - began:.1f} s")

    def _take(self, steps: Sequence[Step]) -> None:
        for step in steps:
            step(self.environment())

    def wait(self, tend: Step | None = None, *, every: float = 15.0) -> None:
        """Wait until the supervisor ends, which it does only when it is stopped.

        `tend` restores what no program restores by itself, every so many seconds; its errors are
        reported, and it is called again.

        Raises:
            StackError: when it ended by itself; its programs ended with it.
        """
        tended = time.monotonic()
        while self.supervisor.is_alive():
            time.sleep(0.5)
            if tend is None or time.monotonic() - tended < every:
                continue
            try:
                tend(self.environment())
            except QuicksilverError as error:
                self._say(str(error))
            tended = time.monotonic()
        raise StackError(
            f"the supervisor ended; {self.home.logs / 'supervisord.log'} may say why."
            " `quicksilver up` starts the stack again"
        )

    def stop(self) -> None:
        """Stop everything, the last started first; nothing is left running. Safe to call twice."""
        if self._supervisor is not None:
            self._supervisor.shutdown()
            self._supervisor = None
        if self._lock is not None:
            end_strays(self.folder)
            if self._home is not None:
                self._home.remove_temporary()
            (self.folder / "run" / "running.json").unlink(missing_ok=True)
            self._lock.release()
            self._lock = None
        self._reservations.close()

    def __enter__(self) -> EmbeddedStack:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _await(done: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
