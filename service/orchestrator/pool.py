"""The work pool that the project's deployments run in: made by us, or existing and left alone."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import WorkPool
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings
from prefect.workers.process import ProcessWorker

from quicksilver.engine.command import engine_command, is_engine_command
from quicksilver.errors import PrefectUnavailableError, QuicksilverError
from quicksilver.settings import Settings

# The embedded stack's pool, and the one that a project's prefect.yaml names.
POOL = "default"
# A pool whose description begins like this is ours to change.
MARK = "Made by `quicksilver init`"
_DESCRIPTION = f"{MARK}: runs are forked from the warm engine."
# Types of pools whose runs are processes of the worker's host, as our worker's and Prefect's are.
_OF_PROCESSES = ("process", "quicksilver")


def job_template() -> dict[str, Any]:
    """The process pool's job template, its `command` being the launcher by default."""
    template: dict[str, Any] = ProcessWorker.get_default_base_job_template()
    template["variables"]["properties"]["command"]["default"] = engine_command()
    return template


def is_ours(pool: WorkPool) -> bool:
    """Whether `quicksilver init` made this pool; older versions left their launcher as the mark."""
    if (pool.description or "").startswith(MARK):
        return True
    command = _command(pool.base_job_template)
    return pool.type in _OF_PROCESSES and is_engine_command(command)


async def plan_pool(client: PrefectClient, name: str, *, set_command: bool) -> tuple[str, str]:
    """What `configure_pool` would do: one of make, set, keep; and that in words.

    Raises:
        QuicksilverError: the command is to be set, in a pool that runs no processes.
    """
    try:
        pool = await client.read_work_pool(name)
    except ObjectNotFound:
        return "make", f"work pool {name}: made"
    if set_command and pool.type not in _OF_PROCESSES:
        raise QuicksilverError(
            f"work pool {name} is of type {pool.type}: the warm engine's launcher is for pools of"
            " type process; call `quicksilver init` without --set-pool-command, or name another"
            " pool in QUICKSILVER_POOL"
        )
    if pool.type in _OF_PROCESSES and _command(pool.base_job_template) == engine_command():
        return "keep", f"work pool {name}: in place"
    if set_command or (is_ours(pool) and pool.type in _OF_PROCESSES):
        return "set", f"work pool {name}: command set to the warm engine's launcher"
    return "keep", (
        f"work pool {name}: not made by Quicksilver, used as it is"
        + (
            "; its runs start the stock way, seconds later, unless you call"
            " `quicksilver init --set-pool-command`"
            if pool.type in _OF_PROCESSES
            else f" (type {pool.type})"
        )
    )


async def configure_pool(settings: Settings, *, set_command: bool = False) -> str:
    """Make the settings' work pool where there is none; one that is not ours is used as it is.

    Its job template changes only where it is ours, or with `set_command`. Idempotent.

    Returns:
        What was done, in words.

    Raises:
        PrefectUnavailableError: Prefect does not answer.
        QuicksilverError: the command is to be set, in a pool that runs no processes.
    """
    name = settings.pool
    async with answering(settings) as client:
        what, words = await plan_pool(client, name, set_command=set_command)
        if what == "make":
            await client.create_work_pool(
                WorkPoolCreate(
                    name=name,
                    type="process",
                    description=_DESCRIPTION,
                    base_job_template=job_template(),
                )
            )
        elif what == "set":
            pool = await client.read_work_pool(name)
            template = pool.base_job_template or job_template()
            template.setdefault("variables", {}).setdefault("properties", {}).setdefault(
                "command", {}
            )["default"] = engine_command()
            await client.update_work_pool(name, WorkPoolUpdate(base_job_template=template))
    return words


@asynccontextmanager
async def answering(settings: Settings) -> AsyncGenerator[PrefectClient]:
    """Prefect's client at the settings' address.

    Raises:
        PrefectUnavailableError: Prefect does not answer, here or later on in the block.
    """
    try:
        async with prefect_client(settings) as client:
            yield client
    except (PrefectHTTPStatusError, httpx.HTTPError, OSError, RuntimeError) as error:
        raise PrefectUnavailableError(
            f"Prefect at {settings.prefect_api_url} does not answer: {error}"
        ) from error


@asynccontextmanager
async def prefect_client(settings: Settings) -> AsyncGenerator[PrefectClient]:
    """Prefect's client at the settings' address, and whatever makes its own client within.

    Prefect's default is another one, a server of its own that ends with the process.
    """
    own: dict[Any, str] = {PREFECT_API_URL: settings.prefect_api_url}
    if auth := settings.prefect_auth_string.get_secret_value():
        own[PREFECT_API_AUTH_STRING] = auth
    with temporary_settings(own):
        async with get_client() as client:
            yield client


def _command(template: dict[str, Any]) -> str | None:
    properties = template.get("variables", {}).get("properties", {})
    return properties.get("command", {}).get("default")
