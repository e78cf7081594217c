"""One loop for every background job: a pass, a pause that a wake may end, back-off after a failure.

A failing job is logged once, counted, and tried again later; other jobs go on.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from quicksilver.errors import QuicksilverError
from quicksilver.ledger.listener import wait_or_timeout
from quicksilver.support.backoff import delay
from quicksilver.support.metrics import ROLE_FAILURES
from quicksilver.support.repeated import Repeated

_log = structlog.get_logger(__name__)

# After a failed pass, in seconds: soon enough for a server that restarts, and capped so that a
# server that returns after an hour is found soon.
_BASE = 0.5
_CAP = 10.0


@dataclass(frozen=True, slots=True)
class Job:
    """A background job of the service.

    `run_once` is one pass. `pause` is how many seconds lie between two passes, or is asked after
    each; `changed`, when set, ends the pause. `first` seconds pass before the first pass, and
    `at_end` runs once when the job is cancelled.
    """

    name: str
    run_once: Callable[[], Awaitable[object]]
    pause: float | Callable[[], Awaitable[float]]
    changed: asyncio.Event | None = None
    first: float = 0.0
    at_end: Callable[[], Awaitable[None]] | None = None


async def run_jobs(jobs: Sequence[Job]) -> None:
    """Run jobs side by side until cancelled."""
    async with asyncio.TaskGroup() as group:
        for job in jobs:
            group.create_task(run_job(job), name=job.name)


async def run_job(job: Job) -> None:
    """Run one job until cancelled."""
    trouble = Trouble(job.name)
    changed = job.changed or asyncio.Event()
    try:
        await asyncio.sleep(job.first)
        while True:
            try:
                await job.run_once()
                pause = job.pause if isinstance(job.pause, int | float) else await job.pause()
            except Exception as error:
                # Slept, not waited: a burst of events must not become a burst of attempts.
                await asyncio.sleep(trouble.record(error))
            else:
                trouble.clear()
                await wait_or_timeout(changed, pause)
    finally:
        if job.at_end is not None:
            await job.at_end()


class Trouble:
    """The failures of one job since its last success."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._repeated = Repeated()

    def record(self, error: Exception) -> float:
        """Count a failure, and log it unless it was logged; seconds to wait before the next try."""
        ROLE_FAILURES.labels(self._name).inc()
        if self._repeated.is_news(f"{type(error).__name__}: {error}"):
            told = {"job": self._name, "failures": self._repeated.failures}
            if isinstance(error, QuicksilverError):
                _log.warning("a job waits", error=str(error), **told)
            else:
                # A bug: logged whole.
                _log.error("a job broke off, and is tried again", exc_info=error, **told)
        return delay(self._repeated.failures, base=_BASE, cap=_CAP)

    def clear(self) -> None:
        """The job succeeded."""
        if failures := self._repeated.end():
            _log.info("a job goes on", job=self._name, failures=failures)
