"""A real Ceph for the tests: one monitor, one OSD over a file, one gateway, all on loopback.

The packages are Debian's. S3 comes over HTTP and, as Ceph takes tokens over nothing else, HTTPS.
"""

import os
import re
import shutil
import signal
import subprocess
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from quicksilver.settings import Settings, load_settings
from quicksilver.stack.ports import LOOPBACK, choose_port
from tests.support.certificates import Authority
from tests.support.debian import apt_install
from tests.support.waiting import until

PACKAGES = ("ceph-mon", "ceph-osd", "radosgw")
USER, SECRET = "quicksilver", "a-secret-of-its-own"
# Three daemons that start one after the other beside other work, and four pools to be made.
_START_WITHIN = 180

# One replica on one machine: these tests check Ceph's notifications, not its durability.
_CONFIGURATION = """[global]
fsid = {fsid}
mon host = [v2:{host}:{mon}/0]
public network = 127.0.0.0/8
ms bind ipv6 = false
ms bind msgr1 = false
ms bind port min = {osd}
ms bind port max = {osd_last}
keyring = {folder}/keyring
run dir = {folder}
admin socket =
log file = {folder}/$name.log
mon cluster log file = {folder}/cluster.log
mon data = {folder}/mon
osd data = {folder}/osd
rgw data = {folder}/rgw
crash dir = {folder}
mon allow pool size one = true
mon data avail crit = 0
osd crush chooseleaf type = 0
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd objectstore = bluestore
bluestore block size = 2147483648
bluestore cache autotune = false
bluestore cache size = 67108864
rgw frontends = beast endpoint={host}:{http} ssl_endpoint={host}:{https} \
ssl_certificate={certificate} ssl_private_key={key}
"""
_KEYS = {
    "mon.": {"mon": "allow *"},
    "client.admin": {"mon": "allow *", "osd": "allow *"},
    "osd.0": {"mon": "allow profile osd", "osd": "allow *"},
}
_DAEMONS = {
    "mon": ("ceph-mon", "-i", "a"),
    "osd": ("ceph-osd", "-i", "0"),
    "gateway": ("radosgw", "-n", "client.admin"),
}


def install_ceph() -> None:
    """Debian's packages, unless all are there.

    Raises:
        NotInstalledError: they may not, or cannot, be installed.
    """
    if not all(shutil.which(command[0]) for command in _DAEMONS.values()):
        apt_install(*PACKAGES)


def ceph_version() -> str:
    """The gateway's version: 16.2.15."""
    said = subprocess.run(["radosgw", "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"ceph version (\d+(?:\.\d+)+)", said.stdout)
    assert found is not None, said.stdout
    return found[1]


@dataclass
class Ceph:
    """A cluster; `kill` ends one of `mon`, `osd`, `gateway` as a power cut does."""

    folder: Path
    http_url: str
    https_url: str
    authority: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(
        default_factory=dict[str, "subprocess.Popen[bytes]"]
    )

    def run(self, *command: str) -> str:
        """Run one of Ceph's own commands on this cluster; what it said."""
        done = subprocess.run(
            [command[0], "-c", str(self.folder / "ceph.conf"), *command[1:]],
            capture_output=True,
            text=True,
            timeout=_START_WITHIN,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done.stdout

    def start(self, name: str) -> None:
        command, *rest = _DAEMONS[name]
        with (self.folder / f"{name}.out").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [command, "-c", str(self.folder / "ceph.conf"), *rest, "-f"],
                env={"PATH": os.environ.get("PATH", os.defpath), "HOME": str(self.folder)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def start_gateway(self) -> None:
        """Start the gateway, and wait until it answers."""
        self.start("gateway")
        until(self._answers, "Ceph's gateway starts", within=_START_WITHIN)

    def _answers(self) -> bool:
        gateway = self.processes["gateway"]
        assert gateway.poll() is None, (self.folder / "gateway.out").read_text()[-2000:]
        try:
            return httpx.get(self.http_url, timeout=2, trust_env=False).is_success
        except httpx.HTTPError:
            return False

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait(20)

    def settings(self, **others: object) -> Settings:
        """How a service reaches it."""
        own = {
            "store": "ceph",
            "minio_endpoint_url": self.http_url,
            "minio_access_key": USER,
            "minio_secret_key": SECRET,
        }
        return load_settings(**{**own, **others})


@contextmanager
def ceph(folder: Path) -> Generator[Ceph]:
    """A cluster that is ready, with one user; gone at the end."""
    authority = Authority(folder, "authority")
    certificate, key = authority.issue("localhost", "gateway")
    # Ports that are free now; the OSD takes some of a range by itself.
    mon, osd, http, https = (choose_port(None) for _ in range(4))
    fsid = str(uuid.uuid4())
    (folder / "ceph.conf").write_text(
        _CONFIGURATION.format(
            fsid=fsid,
            folder=folder,
            host=LOOPBACK,
            mon=mon,
            osd=osd,
            osd_last=osd + 100,
            http=http,
            https=https,
            certificate=certificate,
            key=key,
        )
    )
    found = Ceph(folder, f"http://{LOOPBACK}:{http}", f"https://{LOOPBACK}:{https}", authority.file)
    for name in ("mon", "osd", "rgw"):
        (folder / name).mkdir()
    keyring, monmap = str(folder / "keyring"), str(folder / "monmap")
    found.run("ceph-authtool", "--create-keyring", keyring)
    for name, caps in _KEYS.items():
        granted = [word for daemon, cap in caps.items() for word in ("--cap", daemon, cap)]
        found.run("ceph-authtool", keyring, "--gen-key", "-n", name, *granted)
    address = ("--addv", "a", f"[v2:{LOOPBACK}:{mon}]")
    found.run("monmaptool", "--create", "--fsid", fsid, *address, monmap)
    found.run("ceph-mon", "-i", "a", "--mkfs", "--monmap", monmap, "--keyring", keyring)
    try:
        found.start("mon")
        osd_id = str(uuid.uuid4())
        found.run("ceph", "osd", "new", osd_id)
        found.run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd_id)
        found.start("osd")
        found.run(
            *("radosgw-admin", "user", "create", "--uid", USER, "--display-name", USER),
            *("--access-key", USER, "--secret", SECRET),
        )
        found.start_gateway()
        yield found
    finally:
        for name in reversed(list(found.processes)):
            found.kill(name)
