"""The production layout on nine hosts: what runs where, how it is reached, killed and started."""

from __future__ import annotations

import dataclasses
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from io import BytesIO
from pathlib import Path
from typing import Any, cast
from unittest import mock

import httpx
import pyarrow.parquet as pq
import urllib3
from minio import Minio
from minio.error import MinioException
from ruamel.yaml import YAML

from quicksilver.domain.datasets import load_datasets
from quicksilver.flows.nyc_tlc.generated import generate_month
from quicksilver.lake.bronze import minio_client
from quicksilver.lake.rules import configure_lanes
from quicksilver.settings import Settings
from quicksilver.stack import EmbeddedStack, Home, Program, parts
from quicksilver.stack.minio import MINIO
from tests.chaos.faults import is_run
from tests.chaos.network import Network
from tests.chaos.stage import BUCKET, PREFIX, QUICK, patient, rows
from tests.support.checkout import PROJECT

USER = "user"
RECEIVERS = ("receiver-1", "receiver-2")
WORKERS = ("worker-1", "worker-2")
HOSTS = ("postgres", "minio", "prefect", "proxy", *RECEIVERS, *WORKERS, USER)
ROWS = 300


@dataclass
class Site:
    """A running site, and what was put into its lake. Use it on the host `user`."""

    network: Network
    folder: Path
    postgres: EmbeddedStack
    say: Callable[[str], None]
    tokens: tuple[str, ...]
    lake_secret: str
    put: dict[date, int] = field(default_factory=dict[date, int])
    started: dict[str, subprocess.Popen[bytes]] = field(
        default_factory=dict[str, "subprocess.Popen[bytes]"]
    )

    def url(self, host: str, port: int) -> str:
        """Where a host's program is reached over HTTP."""
        return f"http://{self.network.address(host)}:{port}"

    def database(self, name: str) -> str:
        """A database's URL, as its own role."""
        return seen_from_afar(self.network, self.postgres.home.database_url(name))

    def environment(self, host: str) -> dict[str, str]:
        """What a program on this host is given: all that a `.env` would say."""
        own = self.folder / host
        (own / "tmp").mkdir(parents=True, exist_ok=True)
        warehouse = self.database("warehouse")
        return {
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
            "HOME": str(own),
            "TMPDIR": str(own / "tmp"),
            "PYTHONUNBUFFERED": "1",
            "DO_NOT_TRACK": "1",
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
            "PREFECT_HOME": str(own / "prefect"),
            "PREFECT_API_URL": f"{self.url('prefect', 4200)}/api",
            "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_WORKER_QUERY_SECONDS": "0.25",
            "MINIO_ENDPOINT_URL": self.url("minio", 9000),
            "MINIO_ACCESS_KEY": "quicksilver",
            "MINIO_SECRET_KEY": self.lake_secret,
            "QUICKSILVER_DATABASE_URL": self.database("ledger"),
            "QUICKSILVER_WAREHOUSE_URL": warehouse,
            "QUICKSILVER_WEBHOOK_TOKENS": ",".join(self.tokens),
            "QUICKSILVER_OPERATOR_TOKENS": self.tokens[0],
            "QUICKSILVER_URL": self.url("proxy", 8081),
            "QUICKSILVER_HOST": "0.0.0.0",
            "QUICKSILVER_HOME": str(own),
            "QUICKSILVER_DATASETS": str(self.folder / "datasets.yaml"),
            "QUICKSILVER_CANARY_INTERVAL": "0",
            **QUICK,
        }

    def _program(self, host: str) -> tuple[list[str], dict[str, str]]:
        """What a host runs, and what it is given beside the rest."""
        role = host.partition("-")[0]
        own = self.folder / host
        if role == "minio":
            command = [str(MINIO.binary()), "server", "--address", ":9000", str(own / "data")]
            secret = {"MINIO_ROOT_USER": "quicksilver", "MINIO_ROOT_PASSWORD": self.lake_secret}
            return command, {**secret, "MINIO_BROWSER": "off"}
        if role == "prefect":
            there = self.database("prefect").removeprefix("postgresql://")
            database = f"postgresql+asyncpg://{there}"
            return ["prefect", "server", "start", "--host", "0.0.0.0", "--port", "4200"], {
                "PREFECT_SERVER_DATABASE_CONNECTION_URL": database,
                "PREFECT_SERVER_UI_ENABLED": "false",
            }
        if role == "proxy":
            behind = (f"{self.network.address(name)}:8420" for name in RECEIVERS)
            files = PROJECT / "compose" / "caddy"
            config = ["--config", str(files / "Caddyfile"), "--adapter", "caddyfile"]
            return ["caddy", "run", *config], {
                "TLS_FILE": str(files / "tls-internal.caddy"),
                "XDG_DATA_HOME": str(own),
                "RECEIVERS": " ".join(behind),
                "PREFECT_API": f"{self.network.address('prefect')}:4200",
                "LAKE": f"{self.network.address('minio')}:9000",
                "GRAFANA": f"{self.network.address('prefect')}:3000",
            }
        if role == "receiver":
            return ["quicksilver", "serve"], {}
        return [str(PROJECT / "compose" / "worker.sh"), host, "2"], {}

    def start(self, host: str) -> None:
        """Start what a host runs; its cable is as it is."""
        command, extra = self._program(host)
        self.started[host] = self.network.spawn(
            host,
            command,
            {**self.environment(host), **extra},
            self.folder / f"{host}.log",
            PROJECT,
        )

    def await_ready(self, host: str, within: float = 120) -> None:
        """Until a host's program does what it is for.

        Raises:
            TimeoutError: it does not; with the end of its log.
        """
        asked = {
            "minio": (self.url("minio", 9000), "/minio/health/live"),
            "prefect": (self.url("prefect", 4200), "/api/ready"),
            "proxy": (self.url("proxy", 8081), "/proxy-health"),
            **{name: (self.url(name, 8420), "/healthz") for name in RECEIVERS},
        }
        deadline = time.monotonic() + within
        while not (_answers(*asked[host]) if host in asked else self._polls(host)):
            if time.monotonic() > deadline or self.started[host].poll() is not None:
                raise TimeoutError(f"{host} is not ready:\n{self.log(host)}")
            time.sleep(0.1)

    def _polls(self, worker: str) -> bool:
        """Whether a worker has a warm engine and has asked for work; said by its log."""
        return ", serving " in self.log(worker) and "started!" in self.log(worker)

    def log(self, host: str) -> str:
        """The end of what a host's program said."""
        path = self.folder / f"{host}.log"
        return path.read_text(errors="replace")[-5000:] if path.exists() else ""

    def put_month(self, dt: date, *, within: float = 120) -> None:
        """Put another content of a month, which its number of rows tells from all before.

        Again and again until it is acknowledged: the lake may be out of reach.
        """
        version = self.put.get(dt, 0) + 1
        body = BytesIO()
        pq.write_table(generate_month(dt.year, dt.month, ROWS + version, seed=version), body)
        deadline = time.monotonic() + within
        while True:
            body.seek(0)
            key = f"{PREFIX}/dt={dt}/data.parquet"
            try:
                self.lake.put_object(BUCKET, key, body, len(body.getvalue()))
            except (MinioException, urllib3.exceptions.HTTPError, OSError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
            else:
                self.put[dt] = version
                return

    @property
    def lake(self) -> Minio:
        """A client that gives up soon."""
        return minio_client(self.settings, timeout=5.0)

    @property
    def settings(self) -> Settings:
        """The settings of whoever is on the host `user`."""
        return Settings(**cast("Any", self.environment(USER)))

    def ledger(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Rows of the ledger."""
        return rows(self.database("ledger"), statement, parameters)

    def busy_workers(self) -> list[str]:
        """Workers on whose host a flow run is under way."""
        return [name for name in WORKERS if any(map(is_run, self.network.processes(name)))]


def _answers(url: str, path: str) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(url + path, timeout=2, trust_env=False).is_success
    return False


@contextmanager
def site(folder: Path, say: Callable[[str], None], *, seed: int = 0) -> Generator[Site]:
    """Every host up and everything set up; the block runs on the host `user`."""
    declared = (PROJECT / "datasets.yaml").read_text(encoding="utf-8")
    (folder / "datasets.yaml").write_text(patient(declared), encoding="utf-8")
    with ExitStack() as stack:
        network = stack.enter_context(Network(HOSTS, seed))
        postgres = stack.enter_context(postgres_on(network, folder / "db", *_patience()))
        stack.enter_context(network.inside(USER))
        tokens = (secrets.token_hex(8), secrets.token_hex(8))
        made = Site(network, folder, postgres, say, tokens, secrets.token_hex(8))
        for host in ("minio", "prefect", "proxy"):
            made.start(host)
        for host in ("minio", "prefect"):
            made.await_ready(host)
        say("Postgres, MinIO and Prefect are up")
        _initialise(made)
        for host in (*RECEIVERS, *WORKERS):
            made.start(host)
        for host in (*RECEIVERS, "proxy", *WORKERS):
            made.await_ready(host)
        configure_lanes(
            made.settings,
            load_datasets(folder / "datasets.yaml"),
            say,
            receiver_url=made.url("proxy", 8081),
            queue_dir=str(folder / "minio" / "queue"),
        )
        say(f"{len(HOSTS)} hosts are up")
        yield made


def _initialise(made: Site) -> None:
    """Ledger, warehouse, pool and deployments, from the host `user`."""
    done = subprocess.run(
        ["quicksilver", "init", "--no-lanes"],
        env=made.environment(USER),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"quicksilver init failed:\n{done.stdout}\n{done.stderr}")


def _patience() -> list[str]:
    """How long the production stack's Postgres waits for a host that is silent."""
    declared: Any = YAML(typ="safe", pure=True).load(PROJECT / "compose" / "compose.yaml")
    command: list[str] = declared["services"]["postgres"]["command"]
    return [option for option in command if option.startswith("--tcp-")]


def seen_from_afar(network: Network, url: str) -> str:
    """The URL of a database on the host `postgres`, for the other hosts."""
    return url.replace("@127.0.0.1:", f"@{network.address('postgres')}:")


@contextmanager
def postgres_on(network: Network, home: Path, *options: str) -> Generator[EmbeddedStack]:
    """The embedded Postgres on the host `postgres`, open to the others, with more options."""
    real = parts.postgres_program

    def open_to_all(home: Home) -> Program:
        program = real(home)
        listen = (f"--listen-addresses=127.0.0.1,{network.address('postgres')}", *options)
        with (home.folder / "postgres" / "data" / "pg_hba.conf").open("a") as rules:
            rules.write("host all all samenet scram-sha-256\n")
        return dataclasses.replace(program, command=(*program.command, *listen))

    with network.inside("postgres"):
        stack = EmbeddedStack(home, parts={"postgres"}, ports=None)
        with mock.patch.object(parts, "postgres_program", open_to_all):
            stack.start()
    try:
        yield stack
    finally:
        with network.inside("postgres"):
            stack.stop()
