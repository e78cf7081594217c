"""The embedded Versity S3 Gateway: one program over a folder, which posts its events."""

from __future__ import annotations

import os

from quicksilver.stack.files import private_folder
from quicksilver.stack.go_program import GoProgram
from quicksilver.stack.home import MARKER, Home
from quicksilver.stack.minio import answers
from quicksilver.stack.ports import LOOPBACK
from quicksilver.stack.program import Program

VERSITY = GoProgram(
    title="Versity S3 Gateway",
    name="versitygw",
    package="github.com/versity/versitygw/cmd/versitygw",
    version="v1.8.0",
    minimum_go=(1, 25),
    takes="a minute or two on two cores",
    variable="VERSITYGW_BIN",
)

# Below a name that no bucket can have.
_HEALTH = "/-/health"


def versity_program(home: Home) -> Program:
    """The gateway as a program, its events pointing at this home's service.

    It starts only while the service answers, which gets a test event first.

    Raises:
        ProgramBuildError: when there is no gateway and none can be built.
    """
    folder = private_folder(home.folder / "versity")
    return Program(
        name="versity",
        command=(
            *(str(VERSITY.binary()), "posix"),
            # Attributes in files of their own: not every file system supports extended attributes.
            *("--sidecar", str(private_folder(folder / "attributes"))),
            str(private_folder(folder / "data")),
        ),
        env={
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(home.folder),
            MARKER: home.credentials.stack_id,
            **gateway_environment(
                port=home.port("versity"),
                access_key=home.credentials.minio_user,
                secret_key=home.credentials.minio_password,
                receiver_url=home.service_url,
                token=home.credentials.fast_token,
            ),
        },
        ready=lambda: answers(f"{home.store_url}{_HEALTH}"),
        port=home.port("versity"),
        stop_within=3,
    )


def gateway_environment(
    *, port: int, access_key: str, secret_key: str, receiver_url: str, token: str
) -> dict[str, str]:
    """The gateway's settings; it cannot send a token in a header, so the URL has it as password."""
    scheme, _, address = receiver_url.partition("://")
    return {
        "ROOT_ACCESS_KEY": access_key,
        "ROOT_SECRET_KEY": secret_key,
        "VGW_PORT": f"{LOOPBACK}:{port}",
        "VGW_HEALTH": _HEALTH,
        "VGW_QUIET": "true",
        "VGW_EVENT_WEBHOOK_URL": f"{scheme}://quicksilver:{token}@{address}/events/s3?lane=fast",
    }
