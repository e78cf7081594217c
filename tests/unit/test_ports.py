"""Ports of stacks that start at once."""

import socket
import subprocess
import sys
from contextlib import closing

from quicksilver.stack.ports import LOOPBACK, Reservations
from quicksilver.stack.supervisor import listens

# Takes a port, says which, and holds it until its input ends.
_TAKE = """
import sys
from quicksilver.stack.ports import Reservations
reservations = Reservations()
print(reservations.take(int(sys.argv[1])), flush=True)
sys.stdin.read()
"""


def taking(port: int) -> "subprocess.Popen[str]":
    """Another process that wants this port."""
    return subprocess.Popen(
        [sys.executable, "-c", _TAKE, str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_port_is_ones_own_before_anybody_listens() -> None:
    with closing(Reservations()) as reservations:
        port = reservations.take(None)
        with taking(port) as other:
            assert other.stdout is not None
            assert int(other.stdout.readline()) != port
            other.kill()


def test_what_a_killed_process_reserved_is_free_again() -> None:
    with closing(Reservations()) as draw:
        port = draw.take(None)
    with taking(port) as other:
        assert other.stdout is not None
        assert int(other.stdout.readline()) == port
        with closing(Reservations()) as reservations:
            assert reservations.take(port) != port
        other.kill()
    with closing(Reservations()) as reservations:
        assert reservations.take(port) == port


def test_no_port_is_drawn_twice() -> None:
    with closing(Reservations()) as reservations:
        ports = [reservations.take(None) for _ in range(20)]
        assert len(set(ports)) == 20


def test_what_answers_on_a_port_is_told_from_another() -> None:
    with socket.socket() as server:
        server.bind((LOOPBACK, 0))
        server.listen()
        port = server.getsockname()[1]
        serve = f"import socket, sys; s = socket.socket(); s.bind(('{LOOPBACK}', 0)); s.listen();"
        serve += "print(s.getsockname()[1], flush=True); sys.stdin.read()"
        command = [sys.executable, "-c", serve]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other:
            assert other.stdout is not None
            own = int(other.stdout.readline())
            assert listens(other.pid, own)
            assert not listens(other.pid, port)
            other.kill()
