"""`quicksilver init` as a child of the stack that starts, and again when its work is gone."""

import os
import subprocess
import sys
from collections.abc import Mapping

import httpx
from ruamel.yaml import YAML, YAMLError

from quicksilver.errors import QuicksilverError
from quicksilver.stack.parts import LATE_STORES
from quicksilver.support.http import local_http_client
from quicksilver.support.prefect_http import prefect_auth
from quicksilver.support.project import PROJECT_VARIABLE, project_folder


def initialise_child(environment: Mapping[str, str], *options: str) -> None:
    """`quicksilver init` against a stack that starts, as a process of its own.

    A store that starts behind the service is left to `initialise_store`.

    Raises:
        QuicksilverError: it failed; the message carries what it printed.
    """
    is_late = environment["QUICKSILVER_STORE"] in LATE_STORES
    _initialise(environment, *({*options, "--no-lanes"} if is_late else options))


def initialise_store(environment: Mapping[str, str]) -> None:
    """`quicksilver init` once more, when a store that starts behind the service is there.

    Raises:
        QuicksilverError: it failed; the message carries what it printed.
    """
    _initialise(environment)


def _initialise(environment: Mapping[str, str], *options: str) -> None:
    folder = project_folder()
    done = subprocess.run(
        [sys.executable, "-m", "quicksilver.cli.main", "init", *options],
        env={**os.environ, **environment, PROJECT_VARIABLE: str(folder)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise QuicksilverError(f"`quicksilver init` failed:\n{done.stdout}{done.stderr}")


def initialise_again(environment: Mapping[str, str]) -> None:
    """`quicksilver init` once more where a deployment that the project declares is gone.

    Prefect's database may have been emptied, or a deployment deleted, while the stack ran. Nothing
    is done while Prefect does not answer: its supervisor restarts it.

    Raises:
        QuicksilverError: it failed; the message carries what it printed.
    """
    if any(_is_gone(environment, name) for name in _declared()):
        _initialise(environment, "--no-lanes")


def _declared() -> list[str]:
    """The names of the deployments in the project's `prefect.yaml`; empty while it is not YAML."""
    try:
        text = (project_folder() / "prefect.yaml").read_text(encoding="utf-8")
        said = YAML(typ="safe", pure=True).load(text)
        return [str(each["name"]) for each in said["deployments"]]
    except (OSError, YAMLError, KeyError, TypeError):
        return []


def _is_gone(environment: Mapping[str, str], name: str) -> bool:
    try:
        answer = local_http_client().post(
            f"{environment['PREFECT_API_URL']}/deployments/count",
            json={"deployments": {"name": {"any_": [name]}}},
            auth=prefect_auth(environment),
            timeout=5,
        )
        return answer.is_success and answer.json() == 0
    except (httpx.HTTPError, ValueError):
        return False
