"""The warm engine as a work pool knows it: the command of its flow runs."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

_LAUNCHER = Path(__file__).with_name("launcher.py")


def engine_command() -> str:
    """What a process worker runs for a flow run: the launcher of the warm engine.

    Without an engine that answers, the launcher becomes Prefect's own command.
    """
    return shlex.join([sys.executable, "-I", "-S", str(_LAUNCHER)])


def is_engine_command(command: str | None) -> bool:
    """Whether a flow run's command is the launcher of a warm engine, wherever that is installed."""
    words = shlex.split(command or "")
    return bool(words) and words[-1].endswith(f"/{_LAUNCHER.parent.name}/{_LAUNCHER.name}")
