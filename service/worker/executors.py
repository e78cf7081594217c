"""Shared client, channel and observer, which Prefect's process worker makes for each run."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import anyio.abc
from prefect.runner._flow_run_executor import FlowRunExecutorContext


class Executors:
    """Lends one of Prefect's executor contexts to all runs, for as long as it hears Prefect.

    The context's observer learns of cancellations through a websocket. When that breaks it polls,
    and when polling fails too it stops for good: so the next run after a broken connection gets a
    new context, and the old one ends with its last run.
    """

    def __init__(self) -> None:
        self._contexts: dict[FlowRunExecutorContext, anyio.Event] = {}
        self._users = Counter[FlowRunExecutorContext]()
        self._lock = anyio.Lock()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Lend contexts within the block; at its end they, and the runs in them, are ended."""
        async with anyio.create_task_group() as self._keepers:
            try:
                yield
            finally:
                for closing in self._contexts.values():
                    closing.set()

    @asynccontextmanager
    async def lent(self) -> AsyncGenerator[FlowRunExecutorContext]:
        """A context for one run."""
        async with self._lock:
            context = next(filter(_hears, self._contexts), None)
            if context is None:
                context = await self._keepers.start(self._keep)
            self._users[context] += 1
        try:
            yield context
        finally:
            self._users[context] -= 1
            if not self._users[context] and not _hears(context):
                self._contexts[context].set()

    async def _keep(self, *, task_status: anyio.abc.TaskStatus[FlowRunExecutorContext]) -> None:
        """Hold a context open, in the task that has opened it."""
        async with FlowRunExecutorContext() as context:
            closing = self._contexts[context] = anyio.Event()
            try:
                task_status.started(context)
                await closing.wait()
            finally:
                del self._contexts[context]
                del self._users[context]


def _hears(context: FlowRunExecutorContext) -> bool:
    # There is no public way to ask for it.
    listening = context._observer._consumer_task  # pyright: ignore[reportPrivateUsage]
    return listening is not None and not listening.done()
