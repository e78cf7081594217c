"""Prefect's side: the work pool, and the deployments of `prefect.yaml`."""

import asyncio
import os
import shlex
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.workers.process import ProcessWorker

from quicksilver.errors import PrefectUnavailableError, QuicksilverError
from quicksilver.settings import Settings
from quicksilver.support.project import PACKAGE, PROJECT_VARIABLE, project_folder

POOL = "default"
_DEPLOY_WITHIN = 180.0


def engine_command() -> str:
    """What the process worker runs for a flow run: the launcher of the warm engine.

    Without an engine that answers, the launcher becomes Prefect's own command.
    """
    launcher = PACKAGE / "engine" / "launcher.py"
    return shlex.join([sys.executable, "-I", "-S", str(launcher)])


def job_template() -> dict[str, Any]:
    """The process pool's job template, its `command` being the launcher by default."""
    template: dict[str, Any] = ProcessWorker.get_default_base_job_template()
    template["variables"]["properties"]["command"]["default"] = engine_command()
    return template


async def configure_pool(settings: Settings, *, warm: bool = True) -> str:
    """Make the work pool `default`, or set its command; applied again, nothing changes.

    Raises:
        PrefectUnavailableError: Prefect does not answer.
        QuicksilverError: a pool of that name is of another type.
    """
    try:
        async with prefect_client(settings) as client:
            try:
                pool = await client.read_work_pool(POOL)
            except ObjectNotFound:
                await client.create_work_pool(
                    WorkPoolCreate(
                        name=POOL,
                        type="process",
                        base_job_template=job_template() if warm else {},
                    )
                )
                return f"work pool {POOL}: made"
            if pool.type != "process":
                raise QuicksilverError(
                    f"work pool {POOL} is of type {pool.type}, Quicksilver deploys to a process"
                    " pool: rename yours, or change work_pool in prefect.yaml"
                )
            command = _command(pool.base_job_template)
            if not warm or command == engine_command():
                return f"work pool {POOL}: in place"
            template = pool.base_job_template or job_template()
            template.setdefault("variables", {}).setdefault("properties", {}).setdefault(
                "command", {}
            )["default"] = engine_command()
            await client.update_work_pool(POOL, WorkPoolUpdate(base_job_template=template))
            return f"work pool {POOL}: command set to the warm engine's launcher"
    except (PrefectHTTPStatusError, httpx.HTTPError, OSError, RuntimeError) as error:
        raise PrefectUnavailableError(
            f"Prefect at {settings.prefect_api_url} does not answer: {error}"
        ) from error


@asynccontextmanager
async def prefect_client(settings: Settings) -> AsyncGenerator[PrefectClient]:
    """Prefect's client at the settings' address, and whatever makes its own client within.

    Prefect's default is another one, a server of its own that ends with the process.
    """
    with temporary_settings({PREFECT_API_URL: settings.prefect_api_url}):
        async with get_client() as client:
            yield client


def _command(template: dict[str, Any]) -> str | None:
    properties = template.get("variables", {}).get("properties", {})
    return properties.get("command", {}).get("default")


async def deploy_all(settings: Settings) -> list[str]:
    """`prefect deploy --all` of the project's `prefect.yaml`.

    Raises:
        QuicksilverError: it failed; the message carries its last lines.
    """
    folder = project_folder()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "prefect",
        "--no-prompt",
        "deploy",
        "--all",
        cwd=folder,
        env={
            **os.environ,
            PROJECT_VARIABLE: str(folder),
            "PREFECT_API_URL": settings.prefect_api_url,
            "NO_COLOR": "1",
        },
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), _DEPLOY_WITHIN)
    except TimeoutError as error:
        process.kill()
        raise QuicksilverError(
            f"`prefect deploy --all` did not end within {_DEPLOY_WITHIN:g} s"
        ) from error
    text = output.decode(errors="replace")
    if process.returncode:
        tail = "\n".join(text.strip().splitlines()[-12:])
        raise QuicksilverError(f"`prefect deploy --all` failed:\n{tail}")
    return [
        line.strip(" │")
        for line in text.splitlines()
        if "successfully created" in line or "Deployment '" in line
    ]
