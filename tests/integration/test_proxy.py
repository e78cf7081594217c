"""The stack's Caddyfile, served by a real Caddy: what it lets in, and what it does to a request."""

import os
import ssl
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from quicksilver.stack.ports import LOOPBACK, choose_port
from quicksilver.support.http import local_http_client
from tests.support.certificates import Authority
from tests.support.checkout import PROJECT
from tests.support.servers import MinioServer
from tests.support.waiting import until

CADDY = PROJECT / "compose" / "caddy"
SITE = "quicksilver.localhost"


class Receiver(ThreadingHTTPServer):
    """Answers everything with 200 and remembers what it was sent."""

    daemon_threads = True

    def __init__(self) -> None:
        self.seen: list[dict[str, str]] = []
        super().__init__((LOOPBACK, 0), _Answer)
        Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.server_address[1]}"

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class _Answer(BaseHTTPRequestHandler):
    server: Receiver  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path != "/healthz":
            self.server.seen.append({k.lower(): v for k, v in self.headers.items()})
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    do_POST = do_GET  # noqa: N815  (the base class looks for that name)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        return


class Proxy:
    """A running Caddy; its events' listener and its site."""

    def __init__(self, events: int, https: int) -> None:
        self.events = f"http://{LOOPBACK}:{events}"
        self.https = f"https://{LOOPBACK}:{https}"

    def get(
        self, path: str, context: ssl.SSLContext, site: str = SITE, **headers: str
    ) -> httpx.Response:
        with httpx.Client(verify=context, trust_env=False, timeout=10) as client:
            return client.get(
                self.https + path,
                headers={"host": site, **headers},
                extensions={"sni_hostname": site},
            )


@contextmanager
def caddy(
    folder: Path, receivers: list[Receiver], tls: Path, lake: str | None = None
) -> Generator[Proxy]:
    ports = {name: choose_port(None) for name in ("HTTP", "HTTPS", "EVENTS")}
    away = f"{LOOPBACK}:{choose_port(None)}"
    environment = {
        "PATH": str(Path(sys.executable).parent),
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder / "data"),
        "TLS_FILE": str(tls),
        "PROXY_BIND": LOOPBACK,
        "RECEIVERS": " ".join(receiver.address for receiver in receivers),
        **{f"PROXY_{name}_PORT": str(port) for name, port in ports.items()},
        **dict.fromkeys(("PREFECT_API", "GRAFANA"), away),
        "LAKE": lake or away,
    }
    with (folder / "caddy.log").open("wb") as log:
        process = subprocess.Popen(
            ["caddy", "run", "--config", str(CADDY / "Caddyfile"), "--adapter", "caddyfile"],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            executable=str(Path(sys.executable).with_name("caddy")),
        )
    proxy = Proxy(ports["EVENTS"], ports["HTTPS"])
    try:

        def ready() -> bool:
            assert process.poll() is None, (folder / "caddy.log").read_text()
            try:
                return local_http_client().get(f"{proxy.events}/proxy-health").is_success
            except httpx.HTTPError:
                return False

        until(ready, "Caddy")
        yield proxy
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def receivers() -> Iterator[list[Receiver]]:
    both = [Receiver(), Receiver()]
    yield both
    for receiver in both:
        receiver.close()


def local(file: str, folder: Path) -> Path:
    """One of the ways of certificates, its files in `folder`."""
    copy = folder / file
    copy.write_text((CADDY / file).read_text().replace("/etc/caddy/certificates", str(folder)))
    return copy


def test_events_go_in_and_nothing_else(receivers: list[Receiver], tmp_path: Path) -> None:
    with caddy(tmp_path, receivers, CADDY / "tls-internal.caddy") as proxy:
        with httpx.Client(base_url=proxy.events, trust_env=False) as client:
            sent = client.post(
                "/events/minio?lane=fast",
                content=b"{}",
                headers={"authorization": "Bearer t", "x-forwarded-for": "10.9.8.7"},
            )
            assert sent.status_code == 200
            for path in ("/", "/api/partitions", "/metrics", "/eventsx"):
                assert client.get(path).status_code == 404
            assert client.post("/events/minio", content=bytes(1_100_000)).status_code == 413
        told = [seen for receiver in receivers for seen in receiver.seen]
        (seen,) = [seen for seen in told if seen.get("authorization") == "Bearer t"]
        assert seen["x-forwarded-for"] == LOOPBACK, "a sender's own words are dropped"


def test_the_lakes_site_passes_s3_alone(
    receivers: list[Receiver], minio_server: MinioServer, tmp_path: Path
) -> None:
    """Before a real MinIO, whose metrics are open and whose administration answers strangers."""
    lake = urlsplit(minio_server.endpoint_url).netloc
    site = "lake.localhost"
    authority = Authority(tmp_path, "site-ca")
    authority.issue(site, "site")
    context = ssl.create_default_context(cafile=str(authority.file))
    with caddy(tmp_path, receivers, local("tls-files.caddy", tmp_path), lake) as proxy:
        for path in (
            "/minio/v2/metrics/cluster",
            "/minio/metrics/v3",
            "/minio/prometheus/metrics",
            "/minio/admin/v3/info",
            "/minio/kms/v1/status",
            "/minio/health/cluster",
            "/minio",
            "//minio/v2/metrics/cluster",
            "/x/../minio/v2/metrics/cluster",
            "/%6dinio/v2/metrics/cluster",
            "/minio%2fv2/metrics/cluster",
            "/MINIO/v2/metrics/cluster",
        ):
            answer = proxy.get(path, context, site)
            assert "minio_" not in answer.text, path
            assert not _is_minios_own(answer), path
        # What is S3's goes through, and is MinIO's to refuse.
        answer = proxy.get("/minio-backups/x", context, site)
        assert (answer.status_code, "AccessDenied" in answer.text) == (403, True)


def _is_minios_own(answer: httpx.Response) -> bool:
    """Whether MinIO's administration or health answered; S3 refuses a bucket of that name."""
    if answer.status_code == 404 and not answer.content:
        return False
    return "<Resource>/minio" not in answer.text or "<Code>AllAccessDisabled" not in answer.text


def test_a_receiver_that_dies_is_stepped_over(receivers: list[Receiver], tmp_path: Path) -> None:
    with (
        caddy(tmp_path, receivers, CADDY / "tls-internal.caddy") as proxy,
        httpx.Client(base_url=proxy.events, trust_env=False, timeout=20) as client,
    ):
        for number in range(40):
            if number == 10:
                receivers[0].close()
            assert client.post("/events/minio", content=b"{}").status_code == 200
        assert len(receivers[0].seen) == 5, "each got every second one"
        assert len(receivers[1].seen) == 35


def test_clients_must_show_a_certificate_where_it_is_asked(
    receivers: list[Receiver], tmp_path: Path
) -> None:
    site, clients = Authority(tmp_path, "site-ca"), Authority(tmp_path, "clients-ca")
    site.issue(SITE, "site")
    known = clients.issue("a-sender", "known")
    stranger = site.issue("a-stranger", "stranger")
    with caddy(tmp_path, receivers, local("tls-mutual.caddy", tmp_path)) as proxy:

        def context(pair: tuple[Path, Path] | None) -> ssl.SSLContext:
            made = ssl.create_default_context(cafile=str(site.file))
            if pair:
                made.load_cert_chain(*map(os.fspath, pair))
            return made

        assert proxy.get("/", context(known)).status_code == 200
        for pair in (None, stranger):
            with pytest.raises((httpx.ReadError, httpx.ConnectError, httpx.RemoteProtocolError)):
                proxy.get("/", context(pair))
        assert len([seen for receiver in receivers for seen in receiver.seen]) == 1
        old = context(known)
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(httpx.ConnectError):
            proxy.get("/", old)


def test_ones_own_certificate_is_served(receivers: list[Receiver], tmp_path: Path) -> None:
    site = Authority(tmp_path, "site-ca")
    site.issue(SITE, "site")
    with caddy(tmp_path, receivers, local("tls-files.caddy", tmp_path)) as proxy:
        answer = proxy.get("/", ssl.create_default_context(cafile=str(site.file)))
    assert answer.status_code == 200
    assert answer.headers["strict-transport-security"] == "max-age=31536000"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "server" not in answer.headers
