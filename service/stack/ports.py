"""Loopback ports: the usual one when it is free, else another, reserved meanwhile."""

from __future__ import annotations

import contextlib
import random
import socket
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path

from filelock import FileLock, Timeout

LOOPBACK = "127.0.0.1"
# Below the range from which systems take the ports of outgoing connections.
_SPARE = range(20_000, 30_000)


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # A connection that was closed a moment ago must not make its port look taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((LOOPBACK, port)) != 0


def choose_port(preferred: int | None, taken: Collection[int] = ()) -> int:
    """`preferred` when it is free and not in `taken`, else a spare one; it is not reserved."""
    with contextlib.closing(Reservations()) as reservations:
        return reservations.take(preferred, taken)


class Reservations:
    """Ports that no other stack of this machine takes, from the choice until `close`.

    A server binds its port seconds after it was chosen, and again after each restart: two stacks
    that start at once would both find it free. The kernel frees what a killed process reserved.
    """

    def __init__(self) -> None:
        self._held: dict[int, socket.socket | FileLock] = {}

    def take(self, preferred: int | None, taken: Collection[int] = ()) -> int:
        """`preferred` when it is free, not reserved and not in `taken`, else a spare one.

        Raises:
            OSError: no port is free.
        """
        # Not for secrets: any free port does.
        for port in (preferred, *random.sample(_SPARE, len(_SPARE))):
            if port is None or port in taken or port in self._held or not self._reserve(port):
                continue
            if is_free(port):
                return port
            self._release(port)
        raise OSError("no loopback port is free")

    def _reserve(self, port: int) -> bool:
        if sys.platform == "linux":
            # An abstract name is visible to every user of the machine, leaves no file behind, and
            # belongs to one network namespace, as the ports themselves do.
            name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                name.bind(f"\0quicksilver-port-{port}")
            except OSError:
                name.close()
                return False
            self._held[port] = name
            return True
        lock = FileLock(Path(tempfile.gettempdir()) / f"quicksilver-port-{port}", mode=0o666)
        try:
            lock.acquire(timeout=0)
        except (Timeout, OSError):
            return False
        self._held[port] = lock
        return True

    def _release(self, port: int) -> None:
        held = self._held.pop(port)
        if isinstance(held, socket.socket):
            held.close()
        else:
            held.release()

    def close(self) -> None:
        """Give every port back."""
        for port in [*self._held]:
            self._release(port)
