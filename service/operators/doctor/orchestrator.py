"""Prefect, the worker, and dbt."""

import asyncio
from typing import Any

import httpx

from quicksilver.operators.doctor.check import NO_TABLES, BrokenError, Probe, first_line
from quicksilver.operators.setup import wants_warehouse
from quicksilver.support.prefect_http import PrefectAuth

# One check covers worker and engine.
_SAME_LOOK = 5.0


async def check_prefect(probe: Probe) -> str:
    import prefect

    answer = await ask_prefect(probe, "GET", "/admin/version")
    if answer.status_code in (401, 403):
        raise BrokenError(
            f"{probe.settings.prefect_api_url} answers {answer.status_code}: it wants a password",
            "set PREFECT_API_AUTH_STRING (a server of your own) or PREFECT_API_KEY (Prefect Cloud)",
        )
    if answer.is_error:
        raise BrokenError(
            f"{probe.settings.prefect_api_url}/admin/version answers {answer.status_code}",
            "correct PREFECT_API_URL: it ends in /api",
        )
    server, client_version = str(answer.json()), prefect.__version__
    if _numbers(client_version) > _numbers(server):
        raise BrokenError(
            f"the client is {client_version}, newer than the server's {server}",
            f"upgrade the server to {client_version}",
        )
    return f"server {server}, client {client_version}"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("+")[0].split(".")[:3] if part.isdigit())


async def ask_prefect(probe: Probe, method: str, path: str, body: Any = None) -> httpx.Response:
    """Ask Prefect's API, with the credentials that its own client would take."""
    from prefect.settings import get_current_settings

    url, known = probe.settings.prefect_api_url, get_current_settings().api
    headers: dict[str, str] = {}
    password = probe.settings.prefect_auth_string.get_secret_value()
    if not password and known.key:
        headers["Authorization"] = f"Bearer {known.key.get_secret_value()}"
    elif not password and known.auth_string:
        password = known.auth_string.get_secret_value()
    auth = PrefectAuth(url, password)
    try:
        async with httpx.AsyncClient(base_url=url, timeout=10, headers=headers, auth=auth) as api:
            return await api.request(method, path, json=body)
    except httpx.HTTPError as error:
        raise BrokenError(
            f"{url} does not answer: {first_line(error)}",
            "start Prefect's server, or correct PREFECT_API_URL",
        ) from error


async def check_pool(probe: Probe) -> str:
    answer = await ask_prefect(probe, "GET", f"/work_pools/{probe.pool}")
    if answer.status_code == 404:
        raise BrokenError(f"there is no work pool {probe.pool}", "quicksilver init")
    pool = answer.json()
    if pool.get("is_paused"):
        raise BrokenError(
            f"work pool {probe.pool} is paused", f"prefect work-pool resume {probe.pool}"
        )
    return f"{probe.pool}, of type {pool.get('type')}"


async def check_deployments(probe: Probe) -> str:
    declared = probe.declared()
    names = {each.deployment for each in (*declared.datasets, *declared.gates)}
    for name in sorted(names):
        answer = await ask_prefect(probe, "GET", f"/deployments/name/{name}")
        if answer.status_code == 404:
            raise BrokenError(
                f"Prefect knows no deployment {name}",
                "quicksilver init, or correct the name in datasets.yaml",
            )
    return ", ".join(sorted(names))


async def check_worker(probe: Probe) -> str:
    """Also late runs and a paused pool, as the page's strip shows them."""
    return await _part(probe, "worker")


async def check_engine(probe: Probe) -> str:
    return await _part(probe, "engine")


async def _part(probe: Probe, name: str) -> str:
    health = await probe.health.look(fresh=_SAME_LOOK)
    part = next((part for part in health.parts if part.name == name), None)
    if part is None:
        return "not asked"
    if part.state == "trouble":
        raise BrokenError(part.sentence, part.fix)
    return part.sentence


async def check_dbt(probe: Probe) -> str:
    from quicksilver.build import dbt_project

    # While the datasets are not read, they may have tables.
    is_wanted = probe.datasets is None or wants_warehouse(probe.datasets)
    if not is_wanted and not dbt_project.analytics().is_dir():
        return NO_TABLES
    try:
        parsed = await asyncio.to_thread(dbt_project.manifest)
    except Exception as error:
        raise BrokenError(f"dbt does not parse: {error}", "fix the model that it names") from error
    return f"{len(parsed.nodes)} nodes"
