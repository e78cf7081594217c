"""A real MinIO by itself, as its administrator starts one: no targets, no rules."""

import os
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx

from quicksilver.settings import Settings, load_settings
from quicksilver.stack.minio import MINIO
from quicksilver.stack.ports import LOOPBACK, choose_port
from tests.support.waiting import until

SECRET = "a-secret-of-its-own"


@contextmanager
def minio_running(folder: Path) -> Generator[Settings]:
    """A server over a folder; the settings that reach it."""
    port = choose_port(None)
    url = f"http://{LOOPBACK}:{port}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(str(MINIO.binary()), "server", "--address", f"{LOOPBACK}:{port}"),
                *("--certs-dir", str(folder / "certs"), str(folder / "data")),
            ],
            env={
                "PATH": os.environ.get("PATH", os.defpath),
                "HOME": str(folder),
                "MINIO_ROOT_USER": "admin",
                "MINIO_ROOT_PASSWORD": SECRET,
                "MINIO_BROWSER": "off",
                "MINIO_UPDATE": "off",
            },
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        until(lambda: _answers(f"{url}/minio/health/ready"), "MinIO starts")
        yield load_settings(
            minio_endpoint_url=url, minio_access_key="admin", minio_secret_key=SECRET
        )
    finally:
        process.kill()
        process.wait(20)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2, trust_env=False).is_success
    except httpx.HTTPError:
        return False
