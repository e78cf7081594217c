"""The embedded stack: Postgres, MinIO, Prefect, the service and a worker on this machine.

`up`, `down` and `environment` are what `quicksilver up|down|env` do; `EmbeddedStack` runs a
chosen part of it, for tests and for the demo.
"""

from service.stack.commands import down, environment, shell_lines, up
from service.stack.errors import (
    MinioBuildError,
    StackError,
    StackNotRunningError,
    StackRunningError,
)
from service.stack.home import Home
from service.stack.parts import PARTS
from service.stack.program import Program
from service.stack.run import EmbeddedStack, Step

__all__ = [
    "PARTS",
    "EmbeddedStack",
    "Home",
    "MinioBuildError",
    "Program",
    "StackError",
    "StackNotRunningError",
    "StackRunningError",
    "Step",
    "down",
    "environment",
    "shell_lines",
    "up",
]
