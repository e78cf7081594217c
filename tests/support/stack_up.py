"""`quicksilver up` in a process of its own, and how to see what becomes of its children."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import IO

import psutil

from quicksilver.stack.state import load_running
from tests.support.servers import HOMES


def family(pid: int) -> list[psutil.Process]:
    """A process and everything below it."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def await_end(processes: list[psutil.Process], seconds: float = 30) -> None:
    """Wait until every process is gone."""
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    names = [f"{p.pid} {' '.join(p.cmdline())}" for p in alive if p.is_running()]
    assert not names, f"still running: {names}"


# A test session that is killed must not leave it behind either: Linux tells it (SIGTERM).
RUN = """
import ctypes, json, sys
from pathlib import Path
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 15)
from quicksilver.settings import load_settings
from quicksilver.stack import up
up(
    load_settings(home=Path(sys.argv[1])),
    parts=sys.argv[2].split(","),
    ports=None,
    on_ready=lambda variables: print(json.dumps(variables), flush=True),
    say=lambda line: print(line, file=sys.stderr, flush=True),
)
"""


class Up:
    """`quicksilver up` in a process of its own; `through` is a command that becomes it."""

    def __init__(
        self,
        folder: Path,
        parts: Collection[str],
        *,
        through: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.log: IO[bytes] = (HOMES / f"{folder.name}.out").open("w+b")
        self.process = subprocess.Popen(
            [*through, sys.executable, "-c", RUN, str(folder), ",".join(parts)],
            stdout=subprocess.PIPE,
            stderr=self.log,
            env=env,
            # As a shell with job control would: signals to the group reach no other process.
            start_new_session=True,
        )

    def ready(self) -> dict[str, str]:
        """Wait for it; the environment that it printed."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.said()
        variables: dict[str, str] = json.loads(line)
        return variables

    def said(self) -> str:
        """What it wrote so far."""
        return Path(self.log.name).read_text()

    @property
    def guardian(self) -> psutil.Process:
        """The process that ends what the supervisor leaves."""
        running = load_running(self.folder)
        assert running is not None
        assert running.guardian is not None
        return psutil.Process(running.guardian.pid)

    @property
    def supervisor(self) -> psutil.Process:
        """The process that restarts what dies."""
        return psutil.Process(int((self.folder / "run" / "supervisord.pid").read_text()))

    def end(self) -> None:
        """Stop it, if it has not ended, and close what it wrote to."""
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(40)
        self.log.close()
        if self.process.stdout:
            self.process.stdout.close()
