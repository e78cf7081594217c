"""What `quicksilver up`, `down` and `env` do."""

from __future__ import annotations

import contextlib
import shlex
import signal
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from types import FrameType

import psutil
from filelock import Timeout

from quicksilver.settings import Settings
from quicksilver.stack.errors import StackError, StackNotRunningError
from quicksilver.stack.home import Home
from quicksilver.stack.parts import PARTS
from quicksilver.stack.program import Program
from quicksilver.stack.run import EmbeddedStack, Say, Step
from quicksilver.stack.state import DEFAULT_PORTS, home_lock, load_credentials, load_running
from quicksilver.stack.strays import end_strays

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# The stack's own stop takes 20 s at worst, then it kills.
_DOWN_WITHIN = 45.0


class _StopRequested(BaseException):
    """A user pressed Ctrl-C, closed the terminal or sent SIGTERM."""


@contextlib.contextmanager
def _stopping_on_signals() -> Generator[None]:
    def ask(_number: int, _frame: FrameType | None) -> None:
        for number in _ENDING:  # a second Ctrl-C does not cut the orderly stop short
            signal.signal(number, signal.SIG_IGN)
        raise _StopRequested

    # A signal that is ignored already stays ignored: that is how `nohup` works.
    heeded = [number for number in _ENDING if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, ask) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def worker_limit(settings: Settings) -> int:
    """How many runs the worker has at once: the builds, and some others that wait.

    An ingest at its gate, a backfill and a polling flow hold a slot while they wait for builds:
    with the builds' number alone, four of them would wait for ever.
    """
    return settings.max_running + 4


def up(
    settings: Settings,
    *,
    after_databases: Sequence[Step] = (),
    after_servers: Sequence[Step] = (),
    on_ready: Step | None = None,
    say: Say = print,
    tend: Step | None = None,
    beside: Mapping[str, str] | None = None,
    parts: Sequence[str] = PARTS,
    ports: Mapping[str, int | None] | None = DEFAULT_PORTS,
    extra: Sequence[Callable[[Home], Program]] = (),
    after_store: Sequence[Step] = (),
) -> None:
    """Run the embedded stack in the foreground until Ctrl-C, SIGTERM or `quicksilver down`.

    Must be called from the main thread. `after_databases` is for the ledger's migrations,
    `after_servers` for bucket, notifications, pool and deployments; each step gets the environment
    that reaches the stack. `on_ready` is called once, when every part is ready; `tend` again and
    again after it. `beside` are the settings of one's own MinIO and Prefect, which are then used.

    Raises:
        StackRunningError: when a stack runs in this home already.
        StackError: when a part does not start, or the supervisor ends by itself.
    """
    stack = EmbeddedStack(
        settings.home,
        parts=parts,
        ports=ports,
        extra=extra,
        limit=worker_limit(settings),
        after_databases=after_databases,
        after_servers=after_servers,
        beside=beside,
        after_store=after_store,
        store="minio" if beside else settings.store,
        say=say,
    )
    with _stopping_on_signals():
        try:
            stack.start()
            if on_ready:
                on_ready(stack.environment())
            stack.wait(tend)
        except _StopRequested:
            say("stopping")
        finally:
            stack.stop()


def down(settings: Settings) -> bool:
    """Stop the stack that runs in this home and wait until it is gone.

    Returns:
        Whether there was anything to stop.

    Raises:
        StackError: when it does not end in time.
    """
    folder = _folder(settings)
    running = load_running(folder)
    asked: list[psutil.Process] = []
    # The owner stops everything itself; without an owner the supervisor's guardian is asked.
    for mark in (running.owner, running.guardian) if running else ():
        if mark and (process := mark.find()):
            if not asked:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.terminate()
            asked.append(process)
    deadline = time.monotonic() + _DOWN_WITHIN
    while load_running(folder) is not None:
        if time.monotonic() > deadline:
            pids = ", ".join(str(process.pid) for process in asked)
            raise StackError(
                f"the stack in {folder} did not end in {_DOWN_WITHIN:.0f} s (processes {pids}):"
                f" {folder / 'logs' / 'supervisord.log'} says what it waits for"
            )
        time.sleep(0.05)
    if not folder.exists():
        return False
    # If another process holds the lock, a new stack has just been started: not ours to touch.
    with contextlib.suppress(Timeout), home_lock(folder).acquire(timeout=0):
        return end_strays(folder) > 0 or bool(asked)
    return bool(asked)


def environment(settings: Settings) -> dict[str, str]:
    """Every setting that reaches the stack that runs in this home.

    Raises:
        StackNotRunningError: when none does.
    """
    folder = _folder(settings)
    credentials = load_credentials(folder)
    running = load_running(folder)
    if credentials is None or running is None:
        raise StackNotRunningError(
            f"no stack runs in {folder}: start one with `quicksilver up`, or set QUICKSILVER_HOME"
            " to the home of the one that runs"
        )
    return Home(folder, credentials, running.beside).environment()


def prefect_database(settings: Settings) -> str:
    """The URL of Prefect's database in the stack that runs in this home; "" without one."""
    folder = _folder(settings)
    credentials, running = load_credentials(folder), load_running(folder)
    if credentials is None or running is None or running.beside is not None:
        return ""
    return Home(folder, credentials).database_url("prefect")


def shell_lines(variables: Mapping[str, str]) -> str:
    """`export NAME=value` lines, quoted for a POSIX shell."""
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items())


def _folder(settings: Settings) -> Path:
    return settings.home.expanduser().resolve()
