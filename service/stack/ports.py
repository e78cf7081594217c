"""Loopback ports: the usual one when it is free, else another."""

from __future__ import annotations

import random
import socket
from collections.abc import Collection

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
    """`preferred` when it is free and not in `taken`, else a spare one.

    The spare is drawn at random, so that two stacks that start at once hardly ever draw the same.
    """
    if preferred is not None and preferred not in taken and is_free(preferred):
        return preferred
    # Not for secrets: any free port does.
    for port in random.sample(_SPARE, len(_SPARE)):
        if port not in taken and is_free(port):
            return port
    raise OSError("no loopback port is free")
