"""Children of the warm engine, forked before the worker knows their run."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import anyio

from quicksilver.engine import launcher, protocol


@dataclass(frozen=True)
class Child:
    """A child that waits for its run, over its supervisor's connection."""

    connection: socket.socket
    path: str
    environment: Mapping[str, str]
    is_heard: bool

    @classmethod
    async def fork(cls, environment: Mapping[str, str], *, is_heard: bool = True) -> Self:
        """Have the engine of this environment fork one; its output is the worker's if `is_heard`.

        Raises:
            EngineUnavailableError: there is no engine, or none that fits.
        """
        path = protocol.socket_path(environment)
        connection = await anyio.to_thread.run_sync(_hand_over, path, environment, is_heard)
        return cls(connection, path, environment, is_heard)

    def fits(self, environment: Mapping[str, str], *, is_heard: bool) -> bool:
        """Whether it can become a run in an environment that a running interpreter can honour."""
        return (self.path, self.is_heard, _fixed(self.environment)) == (
            protocol.socket_path(environment), is_heard, _fixed(environment)
        )  # fmt: skip


ChildAhead = asyncio.Task[Child]


def fork_ahead(environment: Mapping[str, str]) -> ChildAhead:
    """Begin to fork a child."""
    return asyncio.create_task(Child.fork(environment))


def let_go(child: ChildAhead) -> None:
    """End a child that got no run."""
    child.add_done_callback(_close)


def _close(child: ChildAhead) -> None:
    if not child.cancelled() and child.exception() is None:
        child.result().connection.close()


def request(environment: Mapping[str, str], folder: Path) -> protocol.Request:
    """What makes a child a continuation of the worker in this environment and folder."""
    umask = os.umask(0o077)
    os.umask(umask)
    variables = {os.fsencode(name): os.fsencode(value) for name, value in environment.items()}
    return protocol.Request(protocol.binaries(), umask, os.fsencode(folder), variables)


def _hand_over(path: str, environment: Mapping[str, str], is_heard: bool) -> socket.socket:
    with Path(os.devnull).open("r+b") as nothing:
        unread = nothing.fileno()
        files = [unread, 1, 2] if is_heard else [unread] * 3
        asked = request(environment, Path.cwd())
        return launcher.hand_over(path, asked, files, protocol.WORKER)


def _fixed(environment: Mapping[str, str]) -> dict[bytes, bytes]:
    variables = {os.fsencode(name): os.fsencode(value) for name, value in environment.items()}
    return protocol.interpreter_variables(variables)
