"""`make stores`: the stores that are on this machine, each really run, and what they do measured.

Prints the measured columns of docs/stores.md; a store that cannot be built is said.
"""

import json
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

from minio import Minio

from quicksilver.domain.datasets import load_datasets
from quicksilver.errors import QuicksilverError
from quicksilver.lake.bronze import minio_client
from quicksilver.lake.ceph import configure_topics
from quicksilver.lake.rules import configure_lanes
from quicksilver.settings import Settings, load_settings
from quicksilver.stack.minio import MINIO
from quicksilver.stack.ports import LOOPBACK
from quicksilver.stack.versity import VERSITY
from tests.support.ceph import ceph, ceph_version, install_ceph
from tests.support.checkout import PROJECT
from tests.support.debian import NotInstalledError
from tests.support.minio import minio_running
from tests.support.servers import HOMES
from tests.support.versity import gateway

TOKEN = "the-stores-own-token"
BUCKET = "datasets"
PREFIX = "bronze/nyc_tlc/yellow_tripdata/dt=2024-01-01/"
ODD = f"{PREFIX}a+b %41 é.parquet"
PUTS, AWAY = 200, 20
# Twice the rhythm of MinIO's durable lane.
PATIENCE = 8.0


@dataclass
class Heard:
    """What a receiver was sent: by written key and lane the seconds since it began to listen."""

    port: int
    at: dict[tuple[str, str], float] = field(default_factory=dict[tuple[str, str], float])
    is_away: bool = False

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def keys(self, lane: str) -> set[str]:
        return {key for key, way in list(self.at) if way == lane}


@contextmanager
def listening() -> Generator[Heard]:
    """A receiver that notes keys as they were written; away, it answers 503."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(503 if heard.is_away else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()
            if heard.is_away or not body.strip():
                return
            lane = self.path.rpartition("lane=")[2]
            for record in json.loads(body).get("Records") or []:
                key = record["s3"]["object"]["key"]
                heard.at.setdefault((key, lane), time.monotonic())

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            return

    server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
    server.daemon_threads = True
    heard = Heard(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield heard
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def minio(heard: Heard) -> Generator[tuple[str, Settings]]:
    with minio_running(Path(tempfile.mkdtemp(dir=HOMES))) as settings:
        own = settings.model_copy(
            update={"webhook_tokens": load_settings(webhook_tokens=TOKEN).webhook_tokens}
        )
        configure_lanes(
            own,
            load_datasets(PROJECT / "datasets.yaml"),
            lambda _: None,
            receiver_url=heard.url,
            queue_dir=tempfile.mkdtemp(dir=HOMES),
        )
        yield MINIO.version, own


@contextmanager
def versity(heard: Heard) -> Generator[tuple[str, Settings]]:
    folder = Path(tempfile.mkdtemp(dir=HOMES))
    with gateway(folder, heard.url, TOKEN) as found:
        found.start()
        settings = found.settings()
        minio_client(settings).make_bucket(BUCKET)
        yield VERSITY.version, settings


@contextmanager
def rados(heard: Heard) -> Generator[tuple[str, Settings]]:
    install_ceph()
    with ceph(Path(tempfile.mkdtemp(dir=HOMES))) as cluster:
        os.environ["SSL_CERT_FILE"] = str(cluster.authority)
        secure = cluster.settings(webhook_tokens=TOKEN, minio_endpoint_url=cluster.https_url)
        datasets = load_datasets(PROJECT / "datasets.yaml")
        configure_topics(secure, datasets, lambda _: None, receiver_url=heard.url)
        del os.environ["SSL_CERT_FILE"]
        yield ceph_version(), cluster.settings()


Running = Callable[[Heard], AbstractContextManager[tuple[str, Settings]]]
STORES: dict[str, tuple[Running, tuple[str, ...]]] = {
    "MinIO": (minio, ("fast", "durable")),
    "Versity S3 Gateway": (versity, ("fast",)),
    "Ceph RGW": (rados, ("fast", "durable")),
}


def put(client: Minio, key: str, size: int = 1, **options: Any) -> float:
    """Put an object; the moment before."""
    began = time.monotonic()
    client.put_object(BUCKET, key, BytesIO(b"x" * size), size, **options)
    return began


def measure(run: Running, lanes: tuple[str, ...]) -> list[str]:
    """One table row a lane: version, latency, loss, what is sent again, keys, multipart."""
    rows: list[str] = []
    with listening() as heard, run(heard) as (version, settings):
        client = minio_client(settings)
        put_at = {
            f"{PREFIX}n{n}.parquet": put(client, f"{PREFIX}n{n}.parquet") for n in range(PUTS)
        }
        put(client, ODD)
        part = 5 * 1024 * 1024
        put(client, f"{PREFIX}multipart.parquet", part + 1, part_size=part)
        _await(heard, lanes, PUTS + 2)
        heard.is_away = True
        away = [f"{PREFIX}away{n}.parquet" for n in range(AWAY)]
        for key in away:
            put(client, key)
        time.sleep(1)  # Long enough for who sends once to have done so.
        heard.is_away = False
        _await(heard, lanes, PUTS + 2 + AWAY)
        for lane in lanes:
            told = heard.keys(lane)
            written = {_plain(key): key for key in told}
            lags = [
                heard.at[written[key], lane] - began
                for key, began in put_at.items()
                if key in written
            ]
            odd = [key for key in told if ODD in (key, unquote_plus(key))]
            again = sum(key in written for key in away)
            rows.append(
                f"{version} | {lane} | {1000 * statistics.median(lags):.0f} ms,"
                f" at most {1000 * max(lags):.0f} ms | {PUTS - len(lags)} of {PUTS}"
                f" | {AWAY - again} of {AWAY} | {_encoding(odd)}"
                f" | {'told' if f'{PREFIX}multipart.parquet' in written else 'not told'}"
            )
    return rows


def _await(heard: Heard, lanes: tuple[str, ...], count: int) -> None:
    """Until every lane told of so many keys, or had the time for it."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and any(len(heard.keys(lane)) < count for lane in lanes):
        time.sleep(0.05)


def _plain(key: str) -> str:
    return key.replace("%2F", "/").replace("%3D", "=")


def _encoding(found: list[str]) -> str:
    if not found:
        return "not told"
    return "as it is" if found[0] == ODD else "form-encoded"


def main() -> None:
    """Measure every store, and print the table."""
    print("store | version | lane | latency | lost | lost while away | keys | multipart")
    failed = False
    for name, (run, lanes) in STORES.items():
        try:
            for row in measure(run, lanes):
                print(f"{name} | {row}", flush=True)
        except (QuicksilverError, NotInstalledError) as error:
            failed = True
            print(f"{name} | not run: {error}", flush=True)
    shutil.rmtree(HOMES, ignore_errors=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
