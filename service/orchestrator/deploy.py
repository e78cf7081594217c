"""The deployments that the project declares in its `prefect.yaml`, and no others."""

import asyncio
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, YAMLError

from quicksilver.errors import QuicksilverError
from quicksilver.orchestrator.pool import POOL
from quicksilver.settings import Settings
from quicksilver.support.project import PROJECT_VARIABLE, project_folder

PREFECT_FILE = "prefect.yaml"
_DEPLOY_WITHIN = 180.0


def declared_deployments() -> dict[str, Any]:
    """The project's `prefect.yaml`; one without deployments where there is no such file.

    Raises:
        QuicksilverError: it is not YAML, or holds no mapping with a list of deployments.
    """
    path = project_folder() / PREFECT_FILE
    try:
        said: Any = YAML(typ="safe", pure=True).load(path)
    except FileNotFoundError:
        return {"deployments": []}
    except (OSError, YAMLError) as error:
        raise QuicksilverError(f"{path}: {' '.join(str(error).split())}") from error
    deployments: Any = said.get("deployments") if isinstance(said, dict) else None
    if not isinstance(deployments, list) or not all(isinstance(d, dict) for d in deployments):
        raise QuicksilverError(f"{path}: needs `deployments:` with a list of them")
    return said


async def deploy_all(settings: Settings) -> list[str]:
    """`prefect deploy --all` of the project's `prefect.yaml`; what names the work pool `default`
    goes to the settings' pool.

    Raises:
        QuicksilverError: it failed; the message carries its last lines.
    """
    said = declared_deployments()
    if not said["deployments"]:
        return [f"deployments: {PREFECT_FILE} declares none"]
    for deployment in said["deployments"]:
        pool: Any = deployment.get("work_pool")
        if isinstance(pool, dict) and pool.get("name") == POOL:
            deployment["work_pool"] = {**pool, "name": settings.pool}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / PREFECT_FILE
        with path.open("w", encoding="utf-8") as file:
            YAML(typ="safe", pure=True).dump(said, file)
        text = await _deploy(settings, path)
    return [
        line.strip(" │")
        for line in text.splitlines()
        if "successfully created" in line or "Deployment '" in line
    ]


async def _deploy(settings: Settings, path: Path) -> str:
    project = project_folder()
    environment = {
        **os.environ,
        PROJECT_VARIABLE: str(project),
        "PREFECT_API_URL": settings.prefect_api_url,
        "NO_COLOR": "1",
    }
    if auth := settings.prefect_auth_string.get_secret_value():
        environment["PREFECT_API_AUTH_STRING"] = auth
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"),
        *("--prefect-file", str(path)),
        cwd=project,
        env=environment,
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
    return text
