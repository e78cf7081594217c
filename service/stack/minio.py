"""The embedded MinIO: its binary and its server, with both lanes of notifications."""

from __future__ import annotations

import os

import httpx

from quicksilver.stack.files import private_folder
from quicksilver.stack.go_program import GoProgram
from quicksilver.stack.home import MARKER, Home
from quicksilver.stack.ports import LOOPBACK
from quicksilver.stack.program import Program
from quicksilver.support.http import local_http_client

# Its releases are source only.
MINIO = GoProgram(
    title="MinIO",
    name="minio",
    package="github.com/minio/minio",
    version="v0.0.0-20260212201848-7aac2a2c5b7c",
    minimum_go=(1, 24),
    takes="two minutes on two cores",
    variable="MINIO_BIN",
)


def minio_program(home: Home) -> Program:
    """The server as a program, its webhook targets pointing at this home's service.

    Raises:
        ProgramBuildError: when there is no MinIO and none can be built.
    """
    own = home.credentials
    folder = private_folder(home.folder / "minio")
    receiver = f"{home.service_url}/events/minio"
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home.folder),
        MARKER: own.stack_id,
        "MINIO_ROOT_USER": own.minio_user,
        "MINIO_ROOT_PASSWORD": own.minio_password,
        "MINIO_BROWSER": "off",
        "MINIO_UPDATE": "off",
        "MINIO_NOTIFY_WEBHOOK_ENABLE_QUICKSILVER_FAST": "on",
        "MINIO_NOTIFY_WEBHOOK_ENDPOINT_QUICKSILVER_FAST": f"{receiver}?lane=fast",
        "MINIO_NOTIFY_WEBHOOK_AUTH_TOKEN_QUICKSILVER_FAST": own.fast_token,
        "MINIO_NOTIFY_WEBHOOK_ENABLE_QUICKSILVER_DURABLE": "on",
        "MINIO_NOTIFY_WEBHOOK_ENDPOINT_QUICKSILVER_DURABLE": f"{receiver}?lane=durable",
        "MINIO_NOTIFY_WEBHOOK_AUTH_TOKEN_QUICKSILVER_DURABLE": own.durable_token,
        "MINIO_NOTIFY_WEBHOOK_QUEUE_DIR_QUICKSILVER_DURABLE": str(
            private_folder(home.folder / "minio-queue")
        ),
    }
    return Program(
        name="minio",
        command=(
            str(MINIO.binary()),
            "server",
            "--address",
            f"{LOOPBACK}:{home.port('minio')}",
            # Not ~/.minio, which may be another server's.
            "--certs-dir",
            str(private_folder(home.folder / "minio-certs")),
            str(folder),
        ),
        env=environment,
        ready=lambda: answers(f"{home.store_url}/minio/health/ready"),
        port=home.port("minio"),
        stop_within=3,
    )


def answers(url: str) -> bool:
    """Whether a GET of `url` is answered with 2xx within two seconds."""
    try:
        return local_http_client().get(url, timeout=2).is_success
    except httpx.HTTPError:
        return False
