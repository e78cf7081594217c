"""Starts a flow run in a child of the warm engine, as Prefect's `ProcessStarter` has it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Self

import anyio
import anyio.abc
from prefect.runner._process_manager import ProcessHandle
from prefect.settings import get_current_settings
from prefect.utilities.processutils import sanitize_subprocess_env

from quicksilver.engine import launcher, protocol
from quicksilver.support.project import PROJECT_VARIABLE, project_folder
from quicksilver.worker.children import Child, ChildAhead, request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prefect.client.schemas.objects import FlowRun
    from prefect.client.schemas.responses import DeploymentResponse
    from prefect.runner._control_channel import ControlChannel
    from prefect.workers.process import ProcessJobConfiguration

# A stopping worker's runs may report that they crashed; the stack waits little longer than this.
_GRACE = 4.0


class WarmProcess:
    """A run in a child of the engine: a process to Prefect, and the way that it may be stopped."""

    wait_after_graceful_kill = True

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.pid: int | None = None
        self.returncode: int | None = None

    async def follow(self, started: asyncio.Event) -> None:
        """Set `started` once the run is forked; return when it has ended."""
        self._connection.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=self._connection)
        try:
            while self.returncode is None:
                head = await reader.readexactly(protocol.HEADER.size)
                kind, length = protocol.HEADER.unpack(head)
                payload = await reader.readexactly(length)
                if kind == protocol.STARTED:
                    self.pid = int(payload)
                elif kind == protocol.EXITED:
                    self.returncode = os.waitstatus_to_exitcode(int(payload))
                started.set()
        except (OSError, asyncio.IncompleteReadError):
            self.returncode = launcher.SUPERVISOR_LOST
        finally:
            started.set()
            writer.close()

    def assert_forked(self) -> None:
        """Raises RuntimeError when there is no run: the engine could not fork it."""
        if self.pid is None:
            raise RuntimeError("the warm engine did not fork the run")

    def is_alive(self, _pid: int) -> bool:
        """Whether the run has not ended; Prefect asks with its process id."""
        return self.returncode is None

    def graceful_kill(self, _pid: int) -> None:
        """Ask the run to end."""
        self.send(signal.SIGTERM)

    def hard_kill(self, _pid: int) -> None:
        """End the run."""
        self.send(signal.SIGKILL)

    def close(self) -> None:
        """`follow` releases everything."""

    def send(self, number: signal.Signals) -> None:
        """Send the run a signal.

        Raises:
            OSError: it has ended.
        """
        if self.returncode is not None:
            raise ProcessLookupError
        protocol.send(self._connection, protocol.SIGNAL, bytes([number]))


class WarmStarter:
    """Hands one run to the engine that its environment names.

    As a context manager it holds the engine's promise to start the run, and cancels it if the run
    is never started. Raises `launcher.EngineUnavailableError` without an engine.
    """

    def __init__(
        self,
        flow_run: FlowRun,
        configuration: ProcessJobConfiguration,
        control: ControlChannel,
        folder: Path,
        ahead: ChildAhead | None,
    ) -> None:
        self._flow_run = flow_run
        self._configuration = configuration
        self._control = control
        self._folder = folder
        self._ahead = ahead
        self._connection: socket.socket | None = None
        self._request = b""

    async def __aenter__(self) -> Self:
        environment = self._environment()
        self._request = request(environment, self._folder).encode()
        try:
            child = await self._child(environment)
        except BaseException:
            self._control.unregister(self._flow_run.id)
            raise
        self._connection = child.connection
        return self

    async def _child(self, environment: Mapping[str, str]) -> Child:
        is_heard = self._configuration.stream_output
        if self._ahead is not None:
            with contextlib.suppress(launcher.EngineUnavailableError):
                child = await self._ahead
                if child.fits(environment, is_heard=is_heard):
                    return child
                child.connection.close()
        return await Child.fork(environment, is_heard=is_heard)

    async def __aexit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.close()

    async def start(
        self,
        flow_run: FlowRun,
        task_status: anyio.abc.TaskStatus[ProcessHandle] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        """Have the run forked, report it as started, and wait for its end."""
        connection, self._connection = self._connection, None
        if connection is None:
            raise RuntimeError(f"flow run {flow_run.id} was started twice")
        process = WarmProcess(connection)
        started = asyncio.Event()
        following = asyncio.create_task(process.follow(started))
        try:
            protocol.send(connection, protocol.GO, self._request)
            await started.wait()
            process.assert_forked()
            task_status.started(ProcessHandle(process, termination_scope=process))  # type: ignore[arg-type]
            await asyncio.shield(following)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._end(process, following)
            raise

    async def _end(self, process: WarmProcess, following: asyncio.Task[None]) -> None:
        for number, patience in ((signal.SIGTERM, _GRACE), (signal.SIGKILL, None)):
            if process.returncode is None:
                try:
                    process.send(number)
                except OSError:
                    return
                await asyncio.wait([following], timeout=patience)

    def _environment(self) -> dict[str, str]:
        """What Prefect's own starter gives a run, and the run itself."""
        env: dict[str, str | None] = {
            # The run stands in a folder of its own, and finds the project of its worker.
            PROJECT_VARIABLE: str(project_folder()),
            **os.environ,
            **self._configuration.env,
            **settings_environment(),
            "PREFECT__FLOW_RUN_ID": str(self._flow_run.id),
            "PREFECT__ENABLE_CANCELLATION_AND_CRASHED_HOOKS": "false",
            protocol.FLOW_RUN_VARIABLE: self._flow_run.model_dump_json(),
        }
        if entrypoint := _module(self._configuration):
            env["PREFECT__FLOW_ENTRYPOINT"] = entrypoint
        try:
            port, token = self._control.register(self._flow_run.id)
        except RuntimeError:
            pass  # it found no port: cancelling works by signal alone
        else:
            env |= {"PREFECT__CONTROL_PORT": str(port), "PREFECT__CONTROL_TOKEN": token}
        return sanitize_subprocess_env(env)


@cache
def settings_environment() -> dict[str, str]:
    """Prefect's settings of this process as variables: 20 ms, and a worker's never change."""
    return get_current_settings().to_environment_variables(exclude_unset=True)


def _module(configuration: ProcessJobConfiguration) -> str | None:
    """The flow's name in a module, where nothing has to be pulled first.

    Prefect's engine imports what it is told here, and does not ask for the deployment again.
    """
    found = configuration._related_objects  # pyright: ignore[reportPrivateUsage]
    deployment: DeploymentResponse | None = found.get("deployment")
    if deployment is None or deployment.pull_steps or not deployment.entrypoint:
        return None
    return None if ":" in deployment.entrypoint else deployment.entrypoint
