"""A real Versity S3 Gateway over a folder, which posts to a receiver of the test's own."""

import os
import signal
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from quicksilver.settings import Settings, load_settings
from quicksilver.stack.ports import LOOPBACK, choose_port
from quicksilver.stack.versity import VERSITY, gateway_environment
from tests.support.waiting import until

USER, SECRET = "admin", "a-secret-of-twenty-signs"


@dataclass
class Gateway:
    """A running gateway; `kill` ends it as a power cut does, `start` brings it back."""

    folder: Path
    environment: dict[str, str]
    url: str
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        data, attributes = self.folder / "data", self.folder / "attributes"
        for folder in (data, attributes):
            folder.mkdir(exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(VERSITY.binary()), "posix", "--sidecar", str(attributes), str(data)],
                env={"PATH": os.defpath, **self.environment},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        until(self._answers, "the gateway starts")

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/-/health", timeout=2, trust_env=False).is_success
        except httpx.HTTPError:
            return False

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(20)
            self.process = None

    def settings(self, **others: object) -> Settings:
        """How a service reaches it."""
        own = {
            "store": "versity",
            "minio_endpoint_url": self.url,
            "minio_access_key": USER,
            "minio_secret_key": SECRET,
        }
        return load_settings(**{**own, **others})


@contextmanager
def gateway(folder: Path, receiver_url: str, token: str) -> Generator[Gateway]:
    """A gateway, to be started while a receiver answers at `receiver_url`."""
    port = choose_port(None)
    environment = gateway_environment(
        port=port, access_key=USER, secret_key=SECRET, receiver_url=receiver_url, token=token
    )
    found = Gateway(folder, environment, f"http://{LOOPBACK}:{port}")
    try:
        yield found
    finally:
        found.kill()
