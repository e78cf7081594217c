"""One program of the stack: what to run, when it is ready, how it ends."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from quicksilver.stack.files import write_private

_CHILD = Path(__file__).with_name("child.py")


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Program:
    """A child of the supervisor. Programs are started in their list's order, stopped in reverse.

    Durations are seconds. `ready` is polled, must return quickly and must not raise.
    """

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    cwd: Path = Path("/")
    ready: Callable[[], bool] = _always
    # The port that `ready` asks: the process that listens there must be this program.
    port: int | None = None
    # Ten times what it takes on two idle cores, for a machine that is busy with other things.
    start_within: float = 120.0
    stop_signal: signal.Signals = signal.SIGTERM
    # After that long it is killed, its process group with it.
    stop_within: float = 5.0
    # The stack works without it: a failed start is reported, and is not an error.
    optional: bool = False
    account: str | None = None
    enter_any_folder: bool = False

    def write_specification(self, run: Path) -> str:
        """Write what `child.py` reads into the folder `run`; the file's name."""
        name = f"{self.name}.json"
        specification = {
            "command": self.command,
            "env": dict(self.env),
            "cwd": str(self.cwd),
            "account": self.account,
            "enter_any_folder": self.enter_any_folder,
            "death_signal": int(self.stop_signal),
        }
        write_private(run / name, json.dumps(specification))
        return name


def child_command(specification: Path) -> list[str]:
    """The command that becomes the program of a specification."""
    return [sys.executable, "-IS", str(_CHILD), str(specification)]
