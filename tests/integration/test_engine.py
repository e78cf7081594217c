"""Runs from the warm engine start, end, fail, die and are cancelled as the stock command's do.

Against a real Prefect server, under Prefect's process worker, which starts a launcher, and under
the worker type `quicksilver`, which needs none. What must be alike is measured on both commands;
what only the warm engine has (a server, a supervisor, a launcher) is killed at each point.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import State, StateType
from prefect.states import Cancelling

from quicksilver.engine import launcher as launcher_module
from quicksilver.support.prefect_http import prefect_auth
from tests.support.engine_stage import (
    FLOWS,
    LAUNCHER,
    STOCK,
    Engine,
    EngineStage,
    alive,
    eventually,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the warm engine needs Linux")


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    # Not tmp_path: below it lies a unix socket, whose path may have 107 bytes.
    with tempfile.TemporaryDirectory(prefix="qse-") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def the_engine(folder: Path) -> Iterator[Engine]:
    engine = Engine(folder)
    engine.start()
    yield engine
    engine.stop()


@pytest.fixture
def engine(the_engine: Engine) -> Engine:
    the_engine.start_again()
    return the_engine


@pytest.fixture(scope="module")
async def client(prefect_api: str) -> AsyncIterator[PrefectClient]:
    async with get_client() as client:
        yield client


@pytest.fixture(scope="module", params=["process", "quicksilver"])
async def the_stage(
    request: pytest.FixtureRequest, client: PrefectClient, folder: Path, the_engine: Engine
) -> AsyncIterator[EngineStage]:
    stage = EngineStage(client, folder, the_engine, request.param)
    await stage.open()
    yield stage
    stage.close()


@pytest.fixture
def stage(the_stage: EngineStage, engine: Engine) -> EngineStage:
    assert the_stage.engine is engine
    return the_stage


OUTCOMES = {
    "stamp": {},
    "stamp_async": {},
    "fail": {},
    "too_slow": {},
    "die": {"signal": signal.SIGKILL},
    "leave": {"code": 3},
}


@pytest.fixture(scope="module")
async def outcomes(the_stage: EngineStage) -> dict[tuple[str, str], State]:
    """How each flow ends under each command, all of them at once."""
    keys = [(name, command) for name in OUTCOMES for command in (LAUNCHER, STOCK)]
    runs = [await the_stage.run(name, command, **OUTCOMES[name]) for name, command in keys]
    return dict(zip(keys, await asyncio.gather(*(run.ended() for run in runs)), strict=True))


@pytest.mark.parametrize(
    ("name", "expected", "message"),
    [
        ("stamp", "Completed", None),
        ("stamp_async", "Completed", None),
        ("fail", "Failed", "Flow run encountered an exception: ValueError: on purpose"),
        ("too_slow", "TimedOut", "Flow run exceeded timeout of 1.0 second(s)"),
        ("die", "Crashed", "Process exited with status code: -9"),
        ("leave", "Crashed", "Process exited with status code: 3"),
    ],
)
async def test_a_run_ends_as_under_the_stock_command(
    outcomes: dict[tuple[str, str], State], name: str, expected: str, message: str | None
) -> None:
    warm, stock = outcomes[name, LAUNCHER], outcomes[name, STOCK]
    assert (warm.type, warm.name, warm.message) == (stock.type, stock.name, stock.message)
    assert warm.name == expected
    assert message is None or message in (warm.message or "")


async def test_a_run_finds_itself_where_the_stock_command_would_be(stage: EngineStage) -> None:
    warm, stock = await stage.run("describe"), await stage.run("describe", STOCK)
    seen, expected = await warm.began(), await stock.began()
    assert (await warm.ended()).is_completed()

    # The variables that tell one run from another, and the worker's own for its child.
    own = ("PREFECT__", "QUICKSILVER_", "_")
    for described in (seen, expected):
        described["environment"] = {
            k: v for k, v in described["environment"].items() if not k.startswith(own)
        }
    for fact in ("environment", "cwd", "umask", "argv", "main", "api_url", "doubled"):
        assert seen[fact] == expected[fact], fact
    assert seen["environment"]["FROM_WORKER"] == "naïve ünïcode\nand a second line"
    assert seen["sid"] == seen["pid"]
    # Neither the listening socket nor the lock, which would outlive the server in the run.
    assert not set(seen["files"]) & stage.engine.own_files()
    assert seen["warm"]
    assert not expected["warm"]


async def test_logs_prints_and_raw_output_arrive(stage: EngineStage) -> None:
    run = await stage.run("describe")
    messages = await run.logs("Finished in state Completed")
    assert "logged by the flow" in messages
    assert "printed by the flow" in messages

    def output() -> bool:
        text = stage.output.read_text()
        return "raw stdout" in text and "raw stderr" in text

    await eventually(output, "the worker passes the run's raw output on")


async def test_a_run_sends_heartbeats(stage: EngineStage, prefect_api: str) -> None:
    run = await stage.run("sleep", seconds=1)
    body = {
        "filter": {
            "event": {"name": ["prefect.flow-run.heartbeat"]},
            "resource": {"id": [f"prefect.flow-run.{run.id}"]},
        }
    }
    async with httpx.AsyncClient(base_url=prefect_api, auth=prefect_auth(os.environ)) as http:

        async def heard() -> int:
            return (await http.post("/events/filter", json=body)).json()["total"]

        assert await eventually(heard, "a heartbeat of the run")


@pytest.mark.parametrize("command", [LAUNCHER, STOCK], ids=["warm", "stock"])
async def test_cancelling_ends_the_run_in_cancelled(stage: EngineStage, command: str) -> None:
    run = await stage.run("sleep", command)
    process = (await run.began())["pid"]
    await stage.client.set_flow_run_state(run.id, Cancelling(), force=True)
    state = await run.ended()
    assert (state.type, state.name) == (StateType.CANCELLED, "Cancelled")
    await eventually(lambda: not alive(process), "the run's process is gone")


@pytest.mark.parametrize("command", [LAUNCHER, STOCK], ids=["warm", "stock"])
async def test_sigterm_to_what_the_worker_knows_reaches_the_run(
    stage: EngineStage, command: str
) -> None:
    run = await stage.run("sleep", command)
    process = (await run.began())["pid"]
    os.kill(await run.launcher(), signal.SIGTERM)
    state = await run.ended()
    assert state.name == "Crashed"
    assert state.message == "Execution was aborted by a termination signal."
    await eventually(lambda: not alive(process), "the run's process is gone")


async def test_a_killed_launcher_takes_its_run_along(stage: EngineStage) -> None:
    """Without a launcher it is the run itself that is known, and killed."""
    run = await stage.run("sleep")
    seen = await run.began()
    os.kill(await run.launcher(), signal.SIGKILL)
    state = await run.ended()
    assert state.name == "Crashed"
    assert "status code: -9" in (state.message or "")
    # The launcher's supervisor ends all that the run has started; kill -9 of a run does not.
    started = [seen["child"]] if stage.kind == "process" else []
    for process in (seen["pid"], seen["ppid"], *started):
        await eventually(lambda process=process: not alive(process), f"process {process} is gone")


async def test_a_killed_supervisor_takes_its_run_along(stage: EngineStage) -> None:
    run = await stage.run("sleep")
    seen = await run.began()
    os.kill(seen["ppid"], signal.SIGKILL)
    state = await run.ended()
    assert state.name == "Crashed"
    assert f"status code: {launcher_module.SUPERVISOR_LOST}" in (state.message or "")
    await eventually(lambda: not alive(seen["pid"]), "the run's process is gone")


async def test_the_engine_dies_and_nothing_is_lost(stage: EngineStage) -> None:
    outlives = await stage.run("sleep", seconds=5)
    seen = await outlives.began()
    stage.engine.stop(signal.SIGKILL)
    assert alive(seen["pid"])

    said = len(stage.complaints())
    stock = [await stage.run("describe") for _ in range(2)]
    for run in stock:
        assert (await run.ended()).is_completed()
        assert not (await run.began())["warm"]
    assert len(stage.complaints()) - said == 1
    assert (await outlives.ended()).is_completed()

    stage.engine.start()
    warm = await stage.run("describe")
    assert (await warm.ended()).is_completed()
    assert (await warm.began())["warm"]


def copy_of(engine: Engine, name: str) -> Engine:
    """An engine with flows in a folder of its own, so that nobody else's code changes."""
    other = Engine(engine.folder / name)
    other.flows = other.folder / "flows"
    other.flows.mkdir(parents=True)
    return other


def write_version(engine: Engine, version: int) -> None:
    """Give the engine's flows code whose `stamp` writes this version."""
    code = (FLOWS / "engine_flows.py").read_text()
    own = code.replace("_write(path, time.time())", f"_write(path, {version})")
    (engine.flows / "engine_flows.py").write_text(own)


async def test_changed_code_runs_at_once_and_nothing_is_lost(stage: EngineStage) -> None:
    engine = copy_of(stage.engine, f"other-{stage.kind}")
    write_version(engine, 1)
    engine.start()
    other = EngineStage(stage.client, engine.folder, engine, stage.kind)
    await other.open()
    try:
        assert await (await other.run("stamp")).began() == 1
        before = engine.pid
        write_version(engine, 22)
        runs = [await other.run("stamp") for _ in range(3)]
        assert [await run.began() for run in runs] == [22, 22, 22]
        for run in runs:
            assert (await run.ended()).is_completed()
        assert not other.complaints(), engine.log.read_text()
        assert engine.pid == before
        assert "the code on disk has changed" in engine.log.read_text()
    finally:
        other.close()
        engine.stop()


def launch(engine: Engine, **environment: str) -> subprocess.CompletedProcess[str]:
    """The launcher alone, for a flow run that does not exist."""
    return subprocess.run(
        LAUNCHER.split(),
        env={**os.environ, "QUICKSILVER_ENGINE_SOCKET": str(engine.socket), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_exit_code_is_the_engines_own(engine: Engine) -> None:
    ended = launch(engine, PREFECT__FLOW_RUN_ID="none")
    assert ended.returncode == 1
    assert "Invalid flow run id. Received arguments: ['" in ended.stderr
    assert "no warm engine" not in ended.stderr


def test_what_a_fork_cannot_honour_is_left_to_the_stock_command(engine: Engine) -> None:
    ended = launch(engine, PREFECT__FLOW_RUN_ID="none", PYTHONWARNINGS="always")
    assert "no warm engine (PYTHONWARNINGS differ between" in ended.stderr
    assert "prefect/engine.py" in ended.stderr
    assert ended.returncode == 1


def test_a_socket_in_an_open_folder_is_not_trusted(engine: Engine) -> None:
    engine.socket.parent.chmod(0o755)
    try:
        ended = launch(engine, PREFECT__FLOW_RUN_ID="none")
    finally:
        engine.socket.parent.chmod(0o700)
    assert "is open to other users (mode 755)" in ended.stderr


async def test_a_launcher_that_waits_ends_at_once_when_told_to(engine: Engine) -> None:
    """Nothing runs yet: it dies of the signal, as a stock command that still imports would."""

    def connections() -> int:
        return Path("/proc/net/unix").read_text().count(f" {engine.socket}\n")

    os.kill(engine.pid, signal.SIGSTOP)
    try:
        before = connections()
        environment = {**os.environ, "QUICKSILVER_ENGINE_SOCKET": str(engine.socket)}
        waiting = await asyncio.create_subprocess_exec(*LAUNCHER.split(), env=environment)
        await eventually(lambda: connections() > before, "the launcher connects")
        waiting.terminate()
        assert await waiting.wait() == -signal.SIGTERM
    finally:
        os.kill(engine.pid, signal.SIGCONT)


def test_only_one_engine_serves_a_socket(engine: Engine) -> None:
    command = [sys.executable, "-m", "quicksilver.engine.server", "--socket", str(engine.socket)]
    second = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert second.returncode == 75
    assert "another engine serves" in second.stderr
    assert engine.socket.stat().st_mode & 0o777 == 0o600


def test_the_server_is_one_thread_and_its_socket(engine: Engine) -> None:
    assert len(list(Path(f"/proc/{engine.pid}/task").iterdir())) == 1
    kinds = sorted(file.partition(":")[0] for file in engine.own_files())
    assert kinds == [f"{engine.socket}.lock", "socket"]
