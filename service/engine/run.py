"""The forked run: becomes what `execve` would have made of it, then runs Prefect's engine."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import random
import runpy
import signal
import sys
import time
from typing import TextIO
from uuid import UUID

from quicksilver.engine.ahead import opened_client
from quicksilver.engine.configuration import PrefectConfiguration
from quicksilver.engine.protocol import FLOW_RUN_VARIABLE, Request
from quicksilver.support import failpoint

ENGINE = "prefect.engine"

# What `ps` shows of a child that has no run yet.
_WAITING = "prefect.waiting"
_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15

_exit_code: int | None = None


def leave_without_teardown() -> None:
    """Register, before anything is imported, the last step of a run's exit.

    `atexit` runs in reverse order, so this comes after every library has had its turn (Prefect
    sends its last logs and events there). What would follow is taking apart a quarter gigabyte of
    imported modules, which costs 0.1 s and copies every page; the kernel does it at once.
    """
    atexit.register(_leave)


def _leave() -> None:
    if _exit_code is not None:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(_exit_code)


class Run:
    """A run that has just been forked, still looking like the server that it is a copy of."""

    def __init__(
        self,
        request: Request,
        files: list[int],
        supervisor: int,
        prefect: PrefectConfiguration,
        orders: int | None = None,
    ) -> None:
        self._request = request
        self._files = files
        self._supervisor = supervisor
        self._prefect = prefect
        # A pipe with the real request: until that comes, nothing runs.
        self._orders = orders
        self._flow_run: bytes | None = None

    def start(self) -> None:
        """Run the flow run of the environment. Ends, as the stock command does, in SystemExit."""
        global _exit_code
        self._become()
        self._take_over()
        if self._orders is not None:
            self._await_orders(self._orders)
        failpoint.reach("between-pending-and-running")
        try:
            # The same module that the stock command runs, under the same name. A copy that some
            # library imported as `prefect.engine` would only cause a warning.
            sys.modules.pop(ENGINE, None)
            if self._flow_run is not None:
                _know(self._flow_run)
            runpy.run_module(ENGINE, run_name="__main__", alter_sys=True)
            _exit_code = 0
        except SystemExit as leaving:
            if leaving.code is None or isinstance(leaving.code, int):
                _exit_code = (leaving.code or 0) & 0xFF
            raise
        except KeyboardInterrupt:
            raise  # the interpreter then ends by SIGINT
        except BaseException:
            _exit_code = 1
            raise

    def _become(self) -> None:
        _die_with(self._supervisor)
        rename(ENGINE if self._orders is None else _WAITING)
        os.setsid()  # a group of its own, so that all it starts can be killed with it
        for number in signal.valid_signals():
            if callable(signal.getsignal(number)) and number != signal.SIGINT:
                signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        for target, file in enumerate(self._files):
            os.dup2(file, target)
        last = os.sysconf("SC_OPEN_MAX")
        if self._orders is None:
            os.closerange(3, last)
        else:
            os.closerange(3, self._orders)
            os.closerange(self._orders + 1, last)

    def _await_orders(self, orders: int) -> None:
        client = opened_client()
        with os.fdopen(orders, "rb") as pipe:
            payload = pipe.read()
        if not payload:
            os._exit(0)
        rename(ENGINE)
        self._request = Request.decode(payload)
        # Other settings may name another Prefect.
        if not self._take_over() and client is not None:
            client.lend()

    def _take_over(self) -> bool:
        """Take the request's environment and folder; whether Prefect's settings were read again."""
        os.umask(self._request.umask)
        os.chdir(self._request.directory)
        os.environ.clear()
        os.environb.update(self._request.environment)
        # Not for processes that the flow starts: there, a variable this long would be refused.
        self._flow_run = os.environb.pop(os.fsencode(FLOW_RUN_VARIABLE), None)
        time.tzset()
        for stream in (sys.stdout, sys.stderr):
            _rebind(stream)
        random.seed()
        if numpy := sys.modules.get("numpy.random"):
            numpy.seed()
        sys.argv = [ENGINE]
        return self._prefect.adopt()


def _know(flow_run: bytes) -> None:
    """Have Prefect's engine take the flow run that its worker read, and not read it again."""
    from prefect import flow_engine
    from prefect.client.schemas.objects import FlowRun

    known = FlowRun.model_validate_json(flow_run)
    read = flow_engine.load_flow_run

    def load_flow_run(flow_run_id: UUID) -> FlowRun:
        return known if known.id == flow_run_id else read(flow_run_id)

    flow_engine.load_flow_run = load_flow_run


def rename(name: str) -> None:
    """Set the name that `ps` and `top` show; the arguments stay the server's."""
    _LIBC.prctl(_PR_SET_NAME, name.encode())


def _die_with(supervisor: int) -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:
        os._exit(1)  # it died before we asked the kernel for a signal at its death


def _rebind(stream: TextIO) -> None:
    """Buffer as an interpreter does that starts on the descriptor now behind `stream`."""
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(
            line_buffering=stream is sys.stderr or stream.isatty(), write_through=unbuffered
        )
