"""A second account of the machine runs a stack and a worker beside the first's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from quicksilver.support.prefect_http import prefect_auth
from tests.support.servers import HOMES
from tests.support.stack_up import Up
from tests.support.waiting import until

NOBODY = 65534
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
FLOW = """
import os
from prefect import flow

@flow
def whose() -> int:
    open("whose", "w").write(f"{os.getuid()}")
    return os.getuid()
"""


@dataclass(frozen=True)
class Account:
    """Who the second one is: `through` is a command that becomes it."""

    uid: int
    through: tuple[str, ...] = ()


@pytest.fixture(scope="module")
def account() -> Account:
    """Another account where this machine lets us be one, and it may run our interpreter; else our
    own, to which what the first one left is as much in the way."""
    if os.geteuid() != 0:
        return Account(os.getuid())
    may_run = f"import os; assert os.access({sys.executable!r}, os.X_OK)"
    asked = [*AS_NOBODY, sys.executable, "-c", may_run]
    done = subprocess.run(asked, check=False, capture_output=True)
    return Account(0) if done.returncode else Account(NOBODY, AS_NOBODY)


@pytest.fixture
def shared(account: Account) -> Path:
    """A temporary folder of the whole machine, where Prefect's worker of the first account was."""
    folder = HOMES / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    first = folder / "runner_storage"
    if account.through:
        first.mkdir(mode=0o700)
    else:
        # A folder of our own would be open to us, and to root every one is.
        first.touch()
    return folder


@pytest.fixture
def second(account: Account, shared: Path) -> Iterator[Up]:
    """Its stack: Postgres, Prefect, a worker."""
    folder = HOMES / "second"
    folder.mkdir(mode=0o700)
    os.chown(folder, account.uid, -1)
    environment = {**os.environ, "HOME": str(folder), "TMPDIR": str(shared)}
    parts = ["postgres", "prefect", "worker"]
    up = Up(folder, parts, through=account.through, env=environment)
    yield up
    up.end()


def test_a_second_account_has_a_stack_and_a_worker_of_its_own(account: Account, second: Up) -> None:
    variables = second.ready()
    with httpx.Client(
        base_url=variables["PREFECT_API_URL"],
        trust_env=False,
        timeout=30,
        auth=prefect_auth(variables),
    ) as prefect:
        run = _run(prefect, second.folder)

        def ended() -> bool:
            state = prefect.get(f"/flow_runs/{run}").raise_for_status().json()["state"]
            assert state["type"] not in ("FAILED", "CRASHED"), state
            return state["type"] == "COMPLETED"

        until(ended, "the run of the second account", within=120)
    assert (second.folder / "whose").read_text() == str(account.uid)


def _run(prefect: httpx.Client, folder: Path) -> str:
    """A run of a flow that says whose it is."""

    def post(path: str, body: dict[str, Any]) -> str:
        return str(prefect.post(path, json=body).raise_for_status().json()["id"])

    script = folder / "whose_flow.py"
    script.write_text(FLOW)
    script.chmod(0o644)
    step = {"prefect.deployments.steps.set_working_directory": {"directory": str(folder)}}
    deployment = post(
        "/deployments/",
        {
            "name": "second",
            "flow_id": post("/flows/", {"name": "whose"}),
            "entrypoint": "whose_flow.py:whose",
            "work_pool_name": "default",
            "pull_steps": [step],
        },
    )
    return post(f"/deployments/{deployment}/create_flow_run", {})
