"""Stands between `quicksilver up` and the supervisor: `python -P guardian.py ...`.

The kernel signals each program when its parent ends, but not the processes that the program has
started: above all flow runs. So when the supervisor has ended, for whatever reason, a process must
find what is left, and `quicksilver up` may have been killed too. This process does only that, and
is too small for the kernel to kill it first when memory runs out.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

# Seconds between two checks whether the parent lives, where the kernel sends no signal.
_LOOK = 1.0


class Guardian:
    """Runs the supervisor, ends it when asked to, and ends what it leaves."""

    def __init__(self, command: list[str], patience: float) -> None:
        self._parent = os.getppid()
        self._patience = patience
        self._deadline: float | None = None
        self._process = subprocess.Popen(command)
        # A signal, above all a child's end, is written here and ends the wait at once.
        self._woken, self._wake = os.pipe()
        for end in (self._woken, self._wake):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._wake)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._ask)
        signal.signal(signal.SIGCHLD, self._note)

    def _ask(self, *_: object) -> None:
        if self._deadline is None:
            self._deadline = time.monotonic() + self._patience
            self._process.terminate()

    def _note(self, *_: object) -> None:
        """For signals that only have to end the wait."""

    def run(self) -> int:
        """Wait for the supervisor's end; its exit code."""
        while (code := self._process.poll()) is None:
            select.select([self._woken], [], [], _LOOK)
            with contextlib.suppress(BlockingIOError):
                os.read(self._woken, 4096)
            if os.getppid() != self._parent:
                self._ask()
            if self._deadline is not None and time.monotonic() > self._deadline:
                self._process.kill()
        return code


def main() -> None:
    """Arguments: the home, the seconds that an orderly stop may take, the supervisor's command."""
    folder, patience, *command = sys.argv[1:]
    code = Guardian(command, float(patience)).run()
    # Not before: it would take 40 MB for as long as the stack runs.
    from quicksilver.stack.strays import end_strays

    end_strays(Path(folder))
    sys.exit(abs(code))


if __name__ == "__main__":
    main()
