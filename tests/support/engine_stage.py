"""What the tests of the warm engine stand on: an engine, a worker, deployments, and their ends."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from prefect import Flow
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import State
from prefect.client.schemas.responses import DeploymentResponse
from prefect.workers.process import ProcessWorker

from quicksilver.engine import protocol
from tests.support.checkout import PROJECT
from tests.support.flows_for_engine import engine_flows

FLOWS = Path(__file__).parent / "flows_for_engine"
LAUNCHER = shlex.join([sys.executable, "-I", "-S", str(PROJECT / "service/engine/launcher.py")])
STOCK = shlex.join([sys.executable, "-m", "prefect.engine"])
PATIENCE = 120.0


async def eventually(look: Callable[[], Any], what: str) -> Any:
    """The first truthy answer of `look`, awaited if need be; without one, fails naming `what`."""
    deadline = time.monotonic() + PATIENCE
    while True:
        answer = look()
        found = await answer if inspect.isawaitable(answer) else answer
        if found:
            return found
        assert time.monotonic() < deadline, f"after {PATIENCE} s still not: {what}"
        await asyncio.sleep(0.05)


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


class Engine:
    """A warm engine with the flows of the tests, started and killed at will."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.flows = FLOWS
        self.socket = folder / "run" / "engine.sock"
        self.log = folder / "engine.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def own_files(self) -> set[str]:
        """What the server has open beside its standard streams."""
        files = Path(f"/proc/{self.pid}/fd").iterdir()
        return {str(file.readlink()) for file in files if int(file.name) > 2}

    def start(self) -> None:
        """Start it, and wait until it is warm."""
        command = [
            *(sys.executable, "-m", "quicksilver.engine.server", "--socket", str(self.socket)),
            *("--preload", "prefect.flow_engine", "--preload", "engine_flows"),
            *("--hook", "engine_flows", "--watch", str(self.flows)),
        ]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, cwd=self.flows, stderr=log)
        deadline = time.monotonic() + PATIENCE
        while not protocol.ping(str(self.socket), timeout=1):
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()

    def start_again(self) -> None:
        """Start it if it does not run, and let the next launcher without it log that again."""
        if self._process is None:
            self.start()
        Path(f"{self.socket}.missed").unlink(missing_ok=True)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it, by a request or by force."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(PATIENCE)
            self._process = None


class EngineStage:
    """A worker on a pool of its own, and flow runs on it."""

    def __init__(
        self,
        client: PrefectClient,
        folder: Path,
        engine: Engine,
        kind: str = "process",
        *,
        limit: int = 16,
        **environment: str,
    ) -> None:
        self.client = client
        self.folder = folder
        self.engine = engine
        self.kind = kind
        self.output = folder / f"{kind}.log"
        self.pool = f"{kind}-{folder.name}"
        self._limit = limit
        self._environment = environment
        self._worker: subprocess.Popen[bytes] | None = None
        self._deployments: dict[tuple[str, str], UUID] = {}

    async def open(self) -> None:
        """Make the pool and start the worker."""
        template = ProcessWorker.get_default_base_job_template()
        await self.client.create_work_pool(
            WorkPoolCreate(name=self.pool, type="process", base_job_template=template)
        )
        self.start_worker()

    def start_worker(self) -> None:
        """Start a worker of the stage's type."""
        environment = {
            **os.environ,
            "PREFECT_WORKER_QUERY_SECONDS": "0.25",
            "QUICKSILVER_ENGINE_SOCKET": str(self.engine.socket),
            "PYTHONUNBUFFERED": "1",
            "FROM_WORKER": "naïve ünïcode\nand a second line",
            **self._environment,
        }
        modules = {
            "process": ["prefect", "worker", "start", "--type", "process"],
            "quicksilver": ["quicksilver.worker"],
        }
        command = [sys.executable, "-m", *modules[self.kind]]
        command += ["--pool", self.pool, "--limit", str(self._limit)]
        with self.output.open("ab") as output:
            self._worker = subprocess.Popen(command, env=environment, stdout=output, stderr=output)

    def close(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop the worker, by a request or by force."""
        if self._worker is not None:
            self._worker.send_signal(how)
            self._worker.wait(PATIENCE)
            self._worker = None

    async def deploy(self, flow: Flow[..., Any], command: str) -> UUID:
        """The deployment of a flow under a command, made once."""
        key = (flow.name, command)
        if key not in self._deployments:
            self._deployments[key] = await self.client.create_deployment(
                flow_id=await self.client.create_flow(flow),
                name=f"{self.pool}-{len(self._deployments)}",
                entrypoint=f"engine_flows.{flow.fn.__name__}",
                work_pool_name=self.pool,
                job_variables={"command": command, "working_dir": str(self.engine.flows)},
            )
        return self._deployments[key]

    async def deployed(self, name: str) -> DeploymentResponse:
        """The deployment of the flow called `name`, as Prefect has it."""
        deployment = await self.deploy(getattr(engine_flows, name), LAUNCHER)
        return await self.client.read_deployment(deployment)

    async def run(self, name: str, command: str = LAUNCHER, **parameters: object) -> StartedRun:
        """Create a run of the flow called `name`."""
        deployment = await self.deploy(getattr(engine_flows, name), command)
        path = self.folder / f"{name}-{uuid4()}"
        run = await self.client.create_flow_run_from_deployment(
            deployment, parameters={"path": str(path), **parameters}
        )
        return StartedRun(self, run.id, path)

    def complaints(self) -> list[str]:
        """Lines in which launchers say that they found no engine."""
        lines = self.output.read_text(errors="replace").splitlines()
        return [line for line in lines if "no warm engine" in line]


class StartedRun:
    """A flow run, and the file in which its flow says what it saw."""

    def __init__(self, stage: EngineStage, run_id: UUID, path: Path) -> None:
        self._stage = stage
        self.id = run_id
        self._path = path

    async def began(self) -> Any:
        """What the flow wrote as its first act."""
        await eventually(self._path.exists, f"flow run {self.id} writes {self._path.name}")
        return json.loads(self._path.read_text())

    async def ended(self) -> State:
        """The final state."""

        async def final() -> State | None:
            state = (await self._stage.client.read_flow_run(self.id)).state
            return state if state and state.is_final() else None

        return await eventually(final, f"flow run {self.id} is in a final state")

    async def launcher(self) -> int:
        """The process id that the worker knows the run by."""

        async def known() -> int:
            run = await self._stage.client.read_flow_run(self.id)
            return int(run.infrastructure_pid or 0)

        return await eventually(known, f"flow run {self.id} has a process")

    async def logs(self, expected: str) -> list[str]:
        """The run's log messages in Prefect, once `expected` is among them."""
        where = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[self.id]))

        async def found() -> list[str]:
            messages = [log.message for log in await self._stage.client.read_logs(where)]
            return messages if any(expected in message for message in messages) else []

        return await eventually(found, f"flow run {self.id} logs {expected!r}")
