"""docs/adopt.md, word for word: beside a MinIO and a Prefect that were there before."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import pytest

from quicksilver.lake.bronze import minio_client
from quicksilver.settings import load_settings
from quicksilver.stack.minio import MINIO, answers
from quicksilver.stack.ports import LOOPBACK, choose_port
from tests.support.checkout import PROJECT
from tests.support.servers import HOMES
from tests.support.waiting import until

_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COPY = re.compile(r"mc cp \S+ lake/(\w+)/(\S+)")


@pytest.fixture(scope="module")
def lake() -> Iterator[str]:
    """A MinIO as its administrator starts it: it has never heard of Quicksilver."""
    url = f"http://{LOOPBACK}:{choose_port(None)}"
    folder = HOMES / "their-minio"
    server = subprocess.Popen(
        [MINIO.binary(), "server", "--address", url.removeprefix("http://"), str(folder)],
        env={"PATH": os.environ["PATH"], "HOME": str(HOMES), "MINIO_BROWSER": "off"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: answers(f"{url}/minio/health/ready"), "their MinIO", within=60)
        yield url
    finally:
        server.terminate()
        server.wait(30)


@dataclass
class Reader:
    """A person who does what the page says, in one folder after the other."""

    folder: Path
    replaced: dict[str, str]
    running: list[subprocess.Popen[bytes]] = field(default_factory=list[subprocess.Popen[bytes]])

    def __post_init__(self) -> None:
        kept = ("PATH", "HOME", "LANG", "MINIO_BIN", "XDG_CACHE_HOME", "TMPDIR")
        self.env = {name: os.environ[name] for name in kept if name in os.environ}
        commands = str(Path(sys.executable).parent)
        self.env["PATH"] = os.pathsep.join((commands, self.env["PATH"]))

    def type(self, block: str) -> str:
        """What a block prints; it must succeed. `cd` and `export` count for what follows."""
        for theirs, ours in self.replaced.items():
            block = block.replace(theirs, ours)
        done = subprocess.run(
            ["/bin/sh", "-euc", f"{block}\npwd > {HOMES}/stands\nenv -0 > {HOMES}/has"],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        self.folder = Path((HOMES / "stands").read_text().strip())
        has = (HOMES / "has").read_text().split("\0")
        self.env = dict(line.split("=", 1) for line in has if line)
        return done.stdout

    def leave_running(self, block: str, log: Path) -> None:
        """A block in a terminal of its own."""
        with log.open("wb") as out:
            self.running.append(
                subprocess.Popen(
                    ["/bin/sh", "-euc", f"exec {block}"],
                    cwd=self.folder,
                    env=self.env,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )

    def leave(self) -> None:
        """Ctrl-C in every terminal, the last one first."""
        for each in reversed(self.running):
            each.send_signal(signal.SIGINT)
            each.wait(60)


def test_the_page_is_true(lake: str, prefect_api: str) -> None:
    page = (PROJECT / "docs" / "adopt.md").read_text(encoding="utf-8")
    section = page.split("\n## Put it beside your own\n")[1].split("\n## ")[0]
    blocks = [block.strip() for block in _BLOCK.findall(section)]
    new, env, check, up, worker, land, look, doctor, *_ = blocks
    place = HOMES / "adopt"
    place.mkdir(mode=0o711)
    reader = Reader(
        place,
        {
            "http://127.0.0.1:9000": lake,
            "http://127.0.0.1:4200/api": prefect_api
            + f"\nPREFECT_API_AUTH_STRING={os.environ['PREFECT_API_AUTH_STRING']}",
        },
    )
    try:
        reader.type(new)
        reader.type(env)
        reader.type(check)
        said = place / "up.out"
        reader.leave_running(up, said)
        until(
            lambda: "ready: http" in said.read_text() or reader.running[0].poll() is not None,
            "its own services",
            within=240,
        )
        assert reader.running[0].poll() is None, said.read_text()
        assert "failed" not in said.read_text()
        reader.leave_running(worker, place / "worker.out")
        found = _COPY.search(land)
        assert found is not None
        put(lake, found[1], found[2])

        reader.type(look)

        def is_built() -> bool:
            rows = json.loads(reader.type("quicksilver status --json"))
            return '"built"' in json.dumps(rows)

        until(is_built, "the partition is built", within=180, every=2)
        told = reader.type(doctor)
        assert " 0 broken" in told
    finally:
        reader.leave()
        shutil.rmtree(place, ignore_errors=True)


def put(lake: str, bucket: str, key: str) -> None:
    """What the page does by `mc cp`."""
    settings = load_settings(
        minio_endpoint_url=lake, minio_access_key="minioadmin", minio_secret_key="minioadmin"
    )
    body = b"day,amount\n2024-05-01,12.5\n"
    minio_client(settings).put_object(bucket, key, BytesIO(body), len(body))
