"""The worker: Prefect's process worker, woken by the ledger, its runs forked from the engine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import anyio
import anyio.abc
import httpx
from prefect.flows import load_flow_from_flow_run
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker, ProcessWorkerResult

from quicksilver.engine.command import engine_command, is_engine_command
from quicksilver.engine.launcher import EngineUnavailableError
from quicksilver.errors import SettingsError
from quicksilver.settings import load_settings
from quicksilver.worker.children import ChildAhead, fork_ahead, let_go
from quicksilver.worker.client import ThriftyClient
from quicksilver.worker.executors import Executors
from quicksilver.worker.starter import WarmStarter, settings_environment
from quicksilver.worker.waking import listen

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun, WorkPool
    from prefect.client.schemas.responses import WorkerFlowRunResponse
    from prefect.runner._flow_run_executor import FlowRunExecutionResult, FlowRunExecutorContext
    from prefect.runner._process_manager import ProcessHandle

TYPE = "quicksilver"
# Seconds. By then a run is in its flow, and writing its details does not delay it.
_LATER = 1.0


class QuicksilverJobConfiguration(ProcessJobConfiguration):
    """A process worker's configuration, made from what the worker has already read for this run."""

    @classmethod
    def _base_environment(cls) -> dict[str, str]:
        return settings_environment()

    @classmethod
    async def resolve_for_flow_run(
        cls, flow_run: FlowRun, *, client: PrefectClient, **others: Any
    ) -> Self:
        """As Prefect's; the deployment is the one that was just read for the submission."""
        if isinstance(client, ThriftyClient) and flow_run.deployment_id:
            others["deployment"] = client.deployments.pop(flow_run.deployment_id, None)
        return await super().resolve_for_flow_run(flow_run, client=client, **others)


class QuicksilverWorker(ProcessWorker):
    """A process worker that learns of a run as it is created, and forks it from the warm engine."""

    type = TYPE
    job_configuration = QuicksilverJobConfiguration
    _description = (
        "Execute flow runs as processes that are forked from Quicksilver's warm engine, as soon as"
        " they are created."
    )
    _display_name = "Quicksilver"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._woken = asyncio.Event()
        # A run is known to exist, and not just possible.
        self._is_announced = False
        self._polling = asyncio.Lock()
        self._executors = Executors()
        self._thrifty: ThriftyClient | None = None
        # Runs from their submission to their end: the answer to a poll may be older than that.
        self._held: set[UUID] = set()
        self._proposals: dict[UUID, asyncio.Task[bool]] = {}
        # Children that were forked when the worker was woken, and those of runs that it has found.
        self._idle: list[ChildAhead] = []
        self._children: dict[UUID, ChildAhead] = {}

    @classmethod
    def get_default_base_job_template(cls) -> dict[str, Any]:
        """A process pool's template with the launcher as command: any process worker serves it."""
        template = super().get_default_base_job_template()
        template["variables"]["properties"]["command"]["default"] = engine_command()
        return template

    @property
    def client(self) -> PrefectClient:
        """Prefect's client, asking for less."""
        if self._thrifty is None:
            self._thrifty = ThriftyClient(super().client, self._write_later)
        return cast("PrefectClient", self._thrifty)

    async def setup(self) -> None:
        """Prepare the worker, and listen for runs."""
        await self._exit_stack.enter_async_context(self._executors.running())
        await super().setup()
        services = [self._poll_when_woken]
        if url := self._ledger_url():
            services.append(partial(listen, url, self._hear, self._logger))
        for service in services:
            self._group.start_soon(self._until_teardown, service)

    async def teardown(self, *exc_info: Any) -> None:
        """End it."""
        await super().teardown(*exc_info)
        self._thrifty = None

    def _ledger_url(self) -> str | None:
        """Where runs are announced, if this worker knows a ledger."""
        try:
            return load_settings().database_url.get_secret_value() or None
        except SettingsError as error:
            self._logger.warning("Runs wait for a poll, the ledger is not known: %s", error)
            return None

    @property
    def _group(self) -> anyio.abc.TaskGroup:
        if self._runs_task_group is None:
            raise RuntimeError("the worker was not set up")
        return self._runs_task_group

    def _hear(self) -> None:
        self._is_announced = True
        self._woken.set()

    async def _until_teardown(self, service: Callable[[], Awaitable[None]]) -> None:
        with anyio.CancelScope() as scope:
            self._scheduled_task_scopes.add(scope)
            await service()

    async def _poll_when_woken(self) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            if self._limiter and not self._limiter.available_tokens:
                continue  # the end of a run wakes, too
            if self._is_announced:
                self._is_announced = False
                self._idle.append(fork_ahead(self._bare()))
            # The poll underneath reports and counts Prefect's errors.
            with contextlib.suppress(httpx.HTTPError, OSError):
                await self.get_and_submit_flow_runs()
            while self._idle:
                let_go(self._idle.pop())

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        """Poll once; two polls at the same time would both find the same run."""
        async with self._polling:
            return await super().get_and_submit_flow_runs()

    async def _submit_scheduled_flow_runs(
        self, flow_run_response: list[WorkerFlowRunResponse]
    ) -> list[FlowRun]:
        found = [entry for entry in flow_run_response if entry.flow_run.id not in self._held]
        submitted = await super()._submit_scheduled_flow_runs(found)
        for flow_run in submitted:
            self._held.add(flow_run.id)
            child = self._idle.pop() if self._idle else fork_ahead(self._bare())
            self._children[flow_run.id] = child
        return submitted

    @staticmethod
    def _bare() -> dict[str, str]:
        """The environment of a run that is not known yet."""
        return {**os.environ, **settings_environment()}

    def _release_limit_slot(self, flow_run_id: UUID) -> None:
        was_full = self._limiter is not None and not self._limiter.available_tokens
        super()._release_limit_slot(flow_run_id)
        self._held.discard(flow_run_id)
        if unused := self._children.pop(flow_run_id, None):
            let_go(unused)
        # A run that waited for this one's slot need not wait for a poll.
        if was_full or self.work_pool.concurrency_limit is not None:
            self._woken.set()

    async def _submit_run(self, flow_run: FlowRun) -> None:
        # While Prefect takes the run's next state, its deployment is read.
        proposal = asyncio.create_task(super()._propose_pending_state(flow_run))
        self._proposals[flow_run.id] = proposal
        await super()._submit_run(flow_run)
        if unasked := self._proposals.pop(flow_run.id, None):
            # Its deployment is gone: the run was cancelled, and its slot is free.
            await unasked
            self._release_limit_slot(flow_run.id)

    async def _propose_pending_state(self, flow_run: FlowRun) -> bool:
        return await self._proposals.pop(flow_run.id)

    async def _propose_submitting_state(self, flow_run: FlowRun) -> None:
        """Does nothing: a fork takes milliseconds, and the next state is `Running`."""

    async def _give_worker_labels_to_flow_run(self, flow_run_id: UUID) -> None:
        self._write_later(partial(super()._give_worker_labels_to_flow_run, flow_run_id))

    def _write_later(self, write: Callable[[], Awaitable[Any]]) -> None:
        self._group.start_soon(self._write, write)

    async def _write(self, write: Callable[[], Awaitable[Any]]) -> None:
        await anyio.sleep(_LATER)
        try:
            await write()
        except (httpx.HTTPError, OSError):
            self._logger.warning("A flow run's labels or process id were not kept", exc_info=True)

    def _record_work_pool_snapshot(self, work_pool: WorkPool) -> None:
        if work_pool.type == ProcessWorker.type:
            self._work_pool = work_pool  # as good as one of our own type: no warning needed
        super()._record_work_pool_snapshot(work_pool)

    async def run(
        self,
        flow_run: FlowRun,
        configuration: ProcessJobConfiguration,
        task_status: anyio.abc.TaskStatus[int] | None = None,
    ) -> ProcessWorkerResult:
        """Run a flow run to its end, in a child of the engine where its command says so."""
        if is_engine_command(configuration.command):
            async with self._executors.lent() as context:
                with _folder(configuration) as folder:
                    try:
                        async with WarmStarter(
                            flow_run,
                            configuration,
                            context.control_channel,
                            folder,
                            self._children.pop(flow_run.id, None),
                        ) as starter:
                            return await _execute(context, starter, flow_run, task_status)
                    except EngineUnavailableError as reason:
                        self._logger.debug("No warm engine: %s", reason)
        # The launcher, started as a command, logs why there is no engine and becomes Prefect's.
        return await super().run(flow_run, configuration, task_status)


@contextlib.contextmanager
def _folder(configuration: ProcessJobConfiguration) -> Generator[Path]:
    if configuration.working_dir:
        yield configuration.working_dir.resolve()
        return
    with tempfile.TemporaryDirectory(suffix="prefect") as folder:
        yield Path(folder).resolve()


async def _execute(
    context: FlowRunExecutorContext,
    starter: WarmStarter,
    flow_run: FlowRun,
    task_status: anyio.abc.TaskStatus[int] | None,
) -> ProcessWorkerResult:
    """Prefect's own way from the start of a process to what its end means."""
    executor = context.create_executor(
        flow_run, starter, resolve_flow=load_flow_from_flow_run, propose_submitting=False
    )
    execution: FlowRunExecutionResult | None = None

    async def execute(*, task_status: anyio.abc.TaskStatus[ProcessHandle]) -> None:
        nonlocal execution
        execution = await executor.submit(task_status=task_status)

    async with anyio.create_task_group() as group:
        handle: ProcessHandle = await group.start(execute)
        if handle.pid is None:
            raise RuntimeError("the flow run's process has no id")
        if task_status is not None:
            task_status.started(handle.pid)
    if execution is None or execution.status_code is None:
        raise RuntimeError("the flow run's process did not start")
    return ProcessWorkerResult(
        status_code=execution.status_code, identifier=str(execution.handle.pid)
    )
