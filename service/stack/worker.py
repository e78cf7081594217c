"""Quicksilver's worker with the settings that make runs start fast."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from quicksilver.settings import Settings
from quicksilver.stack.files import private_folder
from quicksilver.stack.home import WORKER_POLL
from quicksilver.support.project import PROJECT_VARIABLE, project_folder


def become_worker(settings: Settings, name: str, limit: int) -> NoReturn:
    """Become `prefect worker start --type quicksilver` for the settings' pool and Prefect.

    Its runs get the project's folder and the warm engine's address. It gets a temporary folder of
    its own: Prefect's worker uses a fixed name in the system's one, which belongs to the first user
    who ran a worker.

    Raises:
        StackError: the folder cannot be made.
    """
    home = private_folder(settings.home)
    environment = {
        **os.environ,
        PROJECT_VARIABLE: str(project_folder()),
        "QUICKSILVER_HOME": str(home),
        "PREFECT_API_URL": settings.prefect_api_url,
        "TMPDIR": str(private_folder(home / "worker")),
    }
    environment.setdefault("PREFECT_WORKER_QUERY_SECONDS", WORKER_POLL)
    if auth := settings.prefect_auth_string.get_secret_value():
        environment["PREFECT_API_AUTH_STRING"] = auth
    command = [sys.executable, "-m", "quicksilver.worker", "--name", name]
    command += ["--pool", settings.pool, "--limit", str(limit)]
    os.execve(sys.executable, command, environment)  # noqa: S606
