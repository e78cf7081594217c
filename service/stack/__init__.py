"""The embedded stack: Postgres, MinIO, Prefect, the service and a worker on this machine.

`up`, `down` and `environment` are what `quicksilver up|down|env` do; `EmbeddedStack` runs a
chosen part of it, for tests and for the demo.
"""

from quicksilver.stack.commands import down, environment, prefect_database, shell_lines, up
from quicksilver.stack.errors import (
    ProgramBuildError,
    StackError,
    StackNotRunningError,
    StackRunningError,
)
from quicksilver.stack.home import Home
from quicksilver.stack.parts import PARTS
from quicksilver.stack.program import Program
from quicksilver.stack.run import EmbeddedStack, Step

__all__ = [
    "PARTS",
    "EmbeddedStack",
    "Home",
    "Program",
    "ProgramBuildError",
    "StackError",
    "StackNotRunningError",
    "StackRunningError",
    "Step",
    "down",
    "environment",
    "prefect_database",
    "shell_lines",
    "up",
]
