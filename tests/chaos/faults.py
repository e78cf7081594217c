"""Faults: kill -9 of any process of the stack, at random or at a named point."""

from __future__ import annotations

import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import psutil

from quicksilver.support import failpoint
from tests.chaos.stage import ChaosStage

# How often each is chosen. Postgres takes everything down with it, so it is rarer.
TARGETS = {
    "service": 4,
    "flow": 6,
    "worker": 2,
    "engine": 2,
    "prefect": 2,
    "postgres": 2,
    "minio": 2,
    "point": 8,
}

RUN = "prefect.engine"


@dataclass
class Faults:
    """Picks faults by its dice and counts those that were injected."""

    stage: ChaosStage
    dice: random.Random
    injected: Counter[str] = field(default_factory=Counter[str])
    # Named points are taken in turn, so that each has its share.
    points: list[str] = field(default_factory=list[str])

    def strike(self) -> str | None:
        """Inject one fault, while something lands; its name, or None when it missed."""
        (target,) = self.dice.choices(list(TARGETS), list(TARGETS.values()))
        if target == "point":
            name = self._at_a_point()
        elif target == "flow":
            self._put()
            name = self._kill_a_run()
        else:
            if self.dice.random() < 0.7:
                self._put()
                time.sleep(self.dice.uniform(0, 1.5))
            name = self._kill(target)
            if self.dice.random() < 0.5:
                self._put()
        if name:
            self.injected[name] += 1
        return name

    def _put(self) -> None:
        self.stage.put(self.dice.choice(list(self.stage.versions)), self.dice.randrange(8))

    def _kill(self, target: str) -> str | None:
        pid = self.stage.stack.supervisor.status(target).pid
        return target if pid and _kill(pid) else None

    def _kill_a_run(self) -> str | None:
        """Kill the process of a flow run, at whatever it is doing."""
        below = self.stage.stack.supervisor.pid
        if not _wait(lambda: bool(runs_below(below)), 10):
            return None
        time.sleep(self.dice.uniform(0, 1.2))
        runs = runs_below(below)
        return "flow" if runs and _kill(self.dice.choice(runs)) else None

    def _at_a_point(self) -> str | None:
        """Arm a named point and put something: whoever gets there dies there."""
        if not self.points:
            self.points = list(failpoint.NAMES)
            self.dice.shuffle(self.points)
        name = self.points.pop()
        armed = self.stage.failpoints / name
        armed.touch(mode=0o600)
        self._put()
        if _wait(lambda: not armed.exists(), 20):
            return name
        try:
            armed.unlink()
        except FileNotFoundError:
            return name
        return None


def is_run(pid: int) -> bool:
    """Whether a process is a flow run, started the stock way or by the warm engine."""
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        return process.name() == RUN or RUN in process.cmdline()
    return False


def runs_below(pid: int) -> list[int]:
    """The flow runs among a process's descendants."""
    with contextlib.suppress(psutil.Error):
        tree = psutil.Process(pid).children(recursive=True)
        return sorted(process.pid for process in tree if is_run(process.pid))
    return []


def _kill(pid: int) -> bool:
    with contextlib.suppress(psutil.Error):
        psutil.Process(pid).kill()
        return True
    return False


def _wait(done: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
