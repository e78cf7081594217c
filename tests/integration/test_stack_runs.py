"""Prefect in the embedded stack: its database, its worker, and that no flow run outlives it."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest

from quicksilver.stack import Home
from quicksilver.stack.state import load_credentials
from quicksilver.support.prefect_http import prefect_auth
from tests.support.engine_stage import FLOWS, LAUNCHER, STOCK
from tests.support.servers import HOMES
from tests.support.stack_up import Up, await_end, family
from tests.support.waiting import until

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells a child of its parent's end"
)


@pytest.fixture(params=["stop", "kill both"])
def ending(request: pytest.FixtureRequest) -> str:
    """How the stack ends."""
    return request.param


@pytest.fixture
def up(ending: str) -> Iterator[Up]:
    """Prefect, the warm engine and a worker, in a home that all the ways of ending share."""
    running = Up(HOMES / "runs", ("prefect", "engine", "worker"))
    yield running
    running.end()


def start_sleeping(variables: Mapping[str, str], name: str, command: str) -> dict[str, int]:
    """Have the worker run the flow `sleep`; what that run says about its processes."""
    told = HOMES / f"{name}-{time.monotonic_ns()}"
    with httpx.Client(
        base_url=variables["PREFECT_API_URL"],
        timeout=30,
        trust_env=False,
        auth=prefect_auth(variables),
    ) as client:

        def post(path: str, **body: object) -> str:
            answer = client.post(path, json=body).raise_for_status()
            identity: str = answer.json()["id"]
            return identity

        deployment = post(
            "/deployments/",
            name=name,
            flow_id=post("/flows/", name="sleep"),
            entrypoint="engine_flows.sleep",
            work_pool_name="default",
            job_variables={"command": command, "working_dir": str(FLOWS)},
        )
        parameters = {"path": str(told), "seconds": 600}
        post(f"/deployments/{deployment}/create_flow_run", parameters=parameters)
    until(told.exists, f"the run of {name} begins", within=120)
    began: dict[str, int] = json.loads(told.read_text())
    return began


def test_no_run_outlives_the_stack(up: Up, ending: str) -> None:
    variables = up.ready()
    runs = [
        start_sleeping(variables, f"{ending} {kind}", command)
        for kind, command in {"stock": STOCK, "warm": LAUNCHER}.items()
    ]
    # Not in the system's temporary folder, where it would belong to whoever came first.
    assert (up.folder / "run" / "tmp" / "runner_storage").is_dir()
    _keeps_everything_in_postgres_and_at_home(up.folder)
    processes = {*family(up.process.pid)}
    for run in runs:
        processes |= {psutil.Process(run["pid"]), psutil.Process(run["child"])}
    supervisor = up.supervisor
    began = time.monotonic()
    if ending == "stop":
        up.process.send_signal(signal.SIGTERM)
        assert up.process.wait(40) == 0, up.said()
        assert time.monotonic() - began < 25, up.said()
        await_end([*processes], 0)
    else:
        up.process.kill()
        supervisor.kill()
        up.process.wait(5)
        await_end([*processes])


def _keeps_everything_in_postgres_and_at_home(folder: Path) -> None:
    credentials = load_credentials(folder)
    assert credentials is not None
    with psycopg.connect(Home(folder, credentials).database_url("prefect")) as connection:
        found = connection.execute("select to_regclass('flow_run')").fetchone()
    assert found == ("flow_run",)
    assert (folder / "prefect" / "ui").is_dir()
    assert not list((folder / "prefect").glob("*.db"))
