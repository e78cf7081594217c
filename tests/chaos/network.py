"""Hosts on one machine: network namespaces, and between them a switch whose links can be spoilt.

A kernel may lack netem, the queueing discipline that delays and drops (the tests' own machines
do). So the switch is ours: each host's interface is a TAP device, and every Ethernet frame passes
through this process, which holds it up, drops it or hands it on. What runs on the hosts meets the
kernel's real TCP on both ends: retransmissions, time-outs, sessions whose other end is gone.

The addresses are those set aside for tests of networks (198.18.0.0/15). Nothing leads outside.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import heapq
import os
import random
import selectors
import signal
import struct
import subprocess
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

_TUNSETIFF, _IFF_TAP, _IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
_CLONE_NEWNET = 0x40000000
_SUBNET = "198.18.0"
# Fewer frames for the same bytes: each costs this process some microseconds.
_MTU = 9000
# What a switch holds for a link before it drops, as real ones do.
_QUEUE = 5000

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass
class Link:
    """A host's cable. `delay` (seconds) holds up what it sends; `loss` (share) drops both ways."""

    device: int
    delay: float = 0.0
    loss: float = 0.0
    is_cut: bool = False

    def heal(self) -> None:
        """As good as new."""
        self.delay, self.loss, self.is_cut = 0.0, 0.0, False


def are_namespaces_allowed() -> bool:
    """Whether this process may make hosts: found out by making one."""
    try:
        with Network(("probe",)):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


@dataclass
class Network:
    """Hosts by name, joined by the switch while the block lasts; then all on them is killed.

    Raises:
        OSError, subprocess.CalledProcessError: this machine allows no namespaces or TAP devices.
    """

    names: Sequence[str]
    seed: int = 0
    links: dict[str, Link] = field(default_factory=dict[str, Link])

    def __post_init__(self) -> None:
        self._tag = f"qs{os.getpid()}"
        self._dice = random.Random(self.seed)
        self._by_mac: dict[bytes, Link] = {}
        self._held: list[tuple[float, int, Link, bytes]] = []
        self._sent = 0
        self._is_stopping = False
        self._thread = threading.Thread(target=self._switch, name="switch", daemon=True)

    def address(self, name: str) -> str:
        """The host's IPv4 address."""
        return f"{_SUBNET}.{10 + list(self.names).index(name)}"

    def _namespace(self, name: str) -> str:
        return f"{self._tag}-{name}"

    def __enter__(self) -> Network:
        try:
            for number, name in enumerate(self.names):
                self._plug_in(number, name)
        except BaseException:
            self._remove()
            raise
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for name in self.names:
            self.kill_all(name)
        self._is_stopping = True
        self._thread.join(10)
        self._remove()

    def _plug_in(self, number: int, name: str) -> None:
        namespace, interface = self._namespace(name), f"{self._tag}x{number}"
        mac = bytes((2, 0, 0, 0, 0, 10 + number))
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        link = self.links[name] = self._by_mac[mac] = Link(device)
        request = struct.pack("16sH14x", interface.encode(), _IFF_TAP | _IFF_NO_PI)
        fcntl.ioctl(link.device, _TUNSETIFF, request)
        _ip("netns", "add", namespace)
        _ip("link", "set", interface, "netns", namespace)
        inside = ("-n", namespace)
        _ip(*inside, "link", "set", "lo", "up")
        _ip(*inside, "link", "set", interface, "address", mac.hex(":"), "mtu", str(_MTU))
        _ip(*inside, "address", "add", f"{self.address(name)}/24", "dev", interface)
        _ip(*inside, "link", "set", interface, "up")

    def _remove(self) -> None:
        for name, link in self.links.items():
            os.close(link.device)
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip("netns", "delete", self._namespace(name))
        self.links.clear()

    def command(self, name: str, command: Sequence[str]) -> list[str]:
        """A command that runs on the host."""
        return ["ip", "netns", "exec", self._namespace(name), *command]

    def spawn(
        self, name: str, command: Sequence[str], env: Mapping[str, str], log: Path, cwd: Path
    ) -> subprocess.Popen[bytes]:
        """Start a program on the host; what it says goes to the end of `log`."""
        with log.open("ab") as output:
            return subprocess.Popen(
                self.command(name, command),
                env=env,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def processes(self, name: str) -> list[int]:
        """The ids of what runs on the host."""
        done = subprocess.run(
            ["ip", "netns", "pids", self._namespace(name)],
            capture_output=True,
            text=True,
            check=False,
        )
        return [int(pid) for pid in done.stdout.split()]

    def kill_all(self, name: str) -> None:
        """Kill everything on the host, again until nothing is left (a thread of ours may be)."""
        deadline = time.monotonic() + 10
        while left := [pid for pid in self.processes(name) if pid != os.getpid()]:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if time.monotonic() > deadline:
                raise OSError(f"{name}: processes {left} do not end")
            time.sleep(0.02)

    def vanish(self, name: str) -> None:
        """As if the power went: nobody on the other side hears a goodbye."""
        self.links[name].is_cut = True
        self.kill_all(name)

    @contextmanager
    def inside(self, name: str) -> Generator[None]:
        """This thread, and whom it starts, on the host: sockets made here belong there."""
        with (
            Path("/proc/thread-self/ns/net").open("rb") as home,
            Path(f"/run/netns/{self._namespace(name)}").open("rb") as there,
        ):
            _enter(there.fileno())
            try:
                yield
            finally:
                _enter(home.fileno())

    def _switch(self) -> None:
        with selectors.DefaultSelector() as waiting:
            for link in self.links.values():
                waiting.register(link.device, selectors.EVENT_READ, link)
            while not self._is_stopping:
                patience = 0.1
                if self._held:
                    patience = min(patience, max(0.0, self._held[0][0] - time.monotonic()))
                for key, _ in waiting.select(patience):
                    self._take(key.data)
                while self._held and self._held[0][0] <= time.monotonic():
                    _, _, link, frame = heapq.heappop(self._held)
                    self._hand_on(link, frame)

    def _take(self, link: Link) -> None:
        """Frames that a host sends, some at a time: the others wait for their turn."""
        for _ in range(64):
            try:
                frame = os.read(link.device, 65536)
            except OSError:
                return
            if self._is_lost(link):
                continue
            target = self._by_mac.get(frame[:6])
            # To one, or a broadcast: the question who has an address.
            for other in [target] if target else self.links.values():
                if other is link or len(self._held) >= _QUEUE:
                    continue
                if link.delay:
                    self._sent += 1
                    due = time.monotonic() + link.delay
                    heapq.heappush(self._held, (due, self._sent, other, frame))
                else:
                    self._hand_on(other, frame)

    def _hand_on(self, link: Link, frame: bytes) -> None:
        if self._is_lost(link):
            return
        try:
            os.write(link.device, frame)
        except OSError as error:
            # A full queue, or an interface that is down: the frame is lost, as on a real wire.
            if error.errno not in (errno.EAGAIN, errno.ENOBUFS, errno.EIO):
                raise

    def _is_lost(self, link: Link) -> bool:
        return link.is_cut or (link.loss > 0 and self._dice.random() < link.loss)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


def _enter(namespace: int) -> None:
    if _libc.setns(namespace, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
