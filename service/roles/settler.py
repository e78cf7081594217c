"""The settler: how builds end, read from Prefect's runs, the flows' own locks and the warehouse.

A build that published is a success whatever its run says. A build whose run ended without
publishing, whose process is gone, or whose time is over is given up: first revoked in the
warehouse, where the answer is final, then in the ledger. A leftover process can no longer write.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from quicksilver.domain.states import BuildState
from quicksilver.errors import LedgerUnavailableError, QuicksilverError
from quicksilver.ledger import ActiveBuild, Ledger
from quicksilver.orchestrator.deployments import Deployments
from quicksilver.orchestrator.run_state import RunState
from quicksilver.roles.alerts import clear_alert, raise_alert
from quicksilver.roles.build_ends import ALERT, BuildEnds, Warehouse
from quicksilver.settings import Settings
from quicksilver.support import clock
from quicksilver.support.backoff import delay

_log = structlog.get_logger(__name__)

# Seconds for one settlement: Prefect gets 15 to answer, and a fence waits less for a lock.
_SETTLE_WITHIN = 30.0

# Seconds that a pass waits for its settlements; what takes longer goes on beside the next passes.
_PASS = 2.0

# Settlements at once: each has a connection to the warehouse.
_AT_ONCE = 8

# A build that could not be settled is tried again after these many seconds, doubled up to a minute.
_RETRY = 1.0
_RETRY_CAP = 60.0

# People are told from the second failure in a row.
_TOLD_FROM = 2


class Settler:
    """Settles active builds."""

    def __init__(
        self, settings: Settings, ledger: Ledger, deployments: Deployments, warehouse: Warehouse
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._deployments = deployments
        self._ends = BuildEnds(ledger, deployments, warehouse)
        self._grace = timedelta(seconds=settings.abandon_grace)
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        # Settlements under way, by run, and the builds that could not be settled: failures in a
        # row, and when they are tried again.
        self._under_way: dict[UUID | int, asyncio.Task[int]] = {}
        self._failures: dict[int, tuple[int, datetime]] = {}
        self._active = 0

    async def pause(self) -> float:
        """Seconds until the next pass: few while builds are active."""
        return self._settings.settle_interval if self._active else self._settings.tick

    async def run_once(self) -> int:
        """One pass over the active builds; how many are still active after it.

        Builds are settled in parallel; one that takes long, or cannot be settled now, does not
        delay the others.

        Raises:
            LedgerUnavailableError, PrefectUnavailableError, PrefectRefusedError: nothing can be
            said of any build now.
        """
        builds = await self._ledger.settlement.active_builds()
        # A running build whose lock is held is alive; one call asks Prefect about the others.
        asked = [
            b.flow_run_id
            for b in builds
            if b.flow_run_id is not None
            and b.state != BuildState.CLAIMED
            and (b.state != BuildState.RUNNING or not b.is_held or b.is_late)
        ]
        states: dict[UUID, RunState] = {}
        if asked:
            states = await self._deployments.states(asked)
        working = {b.flow_run_id for b in builds if b.state == BuildState.RUNNING}
        started: list[asyncio.Task[int]] = []
        for name, members in _by_run(builds).items():
            if name in self._under_way:
                continue
            task = asyncio.create_task(self._settle_run(members, set(asked), states, working))
            self._under_way[name] = task
            task.add_done_callback(lambda _, name=name: self._under_way.pop(name))
            started.append(task)
        if started:
            await asyncio.wait(started, timeout=_PASS)
        ended = sum(task.result() for task in started if task.done() and not task.cancelled())
        self._active = len(builds) - ended
        alive = {build.id for build in builds}
        self._failures = {b: f for b, f in self._failures.items() if b in alive}
        return self._active

    async def _settle_run(
        self,
        builds: Sequence[ActiveBuild],
        asked: set[UUID],
        states: Mapping[UUID, RunState],
        working: set[UUID | None],
    ) -> int:
        """Settle the builds of one run, each in its time; how many ended."""
        ended = 0
        for build in builds:
            if build.id in self._failures and clock.now() < self._failures[build.id][1]:
                continue
            try:
                async with self._at_once, asyncio.timeout(_SETTLE_WITHIN):
                    if build.flow_run_id in asked and build.flow_run_id is not None:
                        run = states.get(build.flow_run_id)
                        is_working = build.flow_run_id in working
                        ended += await self._settle(build, run, is_working=is_working)
                    elif build.abandoned_at is not None and build.is_held:
                        await self._ledger.settlement.record_abandoned(build.id, None)
                if self._failures.pop(build.id, None):
                    await clear_alert(self._ledger, ALERT, str(build.partition))
            except LedgerUnavailableError:
                return ended
            except Exception as error:
                await self._record_failure(build, error)
        return ended

    async def _record_failure(self, build: ActiveBuild, error: Exception) -> None:
        """A build cannot be settled now: it is tried again later, and people are told."""
        failures = self._failures[build.id][0] + 1 if build.id in self._failures else 1
        wait = timedelta(seconds=delay(failures, base=_RETRY, cap=_RETRY_CAP))
        self._failures[build.id] = failures, clock.now() + wait
        why = (
            f"no end within {_SETTLE_WITHIN:g} s"
            if isinstance(error, TimeoutError)
            else str(error) or type(error).__name__
        )
        if failures == 1:
            is_known = isinstance(error, QuicksilverError | TimeoutError)
            _log.warning(
                "a build cannot be settled now",
                build=build.id,
                partition=str(build.partition),
                error=why,
                exc_info=None if is_known else error,
            )
        if failures == _TOLD_FROM:
            with contextlib.suppress(LedgerUnavailableError):
                await raise_alert(
                    self._ledger,
                    ALERT,
                    str(build.partition),
                    f"build {build.id} of {build.partition} cannot be settled: {why}",
                )

    async def _settle(self, build: ActiveBuild, run: RunState | None, *, is_working: bool) -> bool:
        """Whether the build ended. `is_working`: its run has a build that is not published yet."""
        if run is None or run.is_terminal:
            return await self._ends.end(build, run)
        if not build.is_held and (
            build.state == BuildState.RUNNING or build.state.has_said_its_end
        ):
            return await self._settle_unheld(build, is_working=is_working)
        is_asked_to_stop = build.cancel_requested_at is not None
        if build.state == BuildState.DISPATCHED:
            if run.has_begun:
                return await self._settle_begun(build)
            if not (build.is_late or is_asked_to_stop):
                return False
            if not is_asked_to_stop and await self._is_kept_waiting(build, run):
                return False
            why = f"the run stayed {run.name} past its deadline: is a worker polling?"
            return await self._ends.replace(build, why, counted=False)
        if not build.is_late:
            return False
        if not is_asked_to_stop:
            await self._ends.ask_to_stop(build)
            return False
        if build.state.has_said_its_end:
            return await self._ends.end(build, None)
        return await self._ends.replace(build, "the run did not stop when asked to", counted=True)

    async def _settle_begun(self, build: ActiveBuild) -> bool:
        """A run that works without reporting to the ledger: Prefect's RUNNING counts.

        A user's own flow has no fence: past its time limit it is asked to stop, and no new run
        starts until its worker has released it.
        """
        dataset = self._ledger.datasets.by_name.get(build.partition.dataset)
        # With `ends: run`, the run's start is shown at once.
        is_news = self._ends.ends_by_run(build) and build.started_at is None
        if not (build.is_late or is_news):
            return False
        if build.cancel_requested_at is None:
            if build.started_at is None:
                limit = dataset.time_limit if dataset else timedelta(0)
                await self._ledger.settlement.note_begun(build, within=limit)
                return False
            await self._ends.ask_to_stop(build)
            return False
        if self._ends.ends_by_run(build):
            await raise_alert(
                self._ledger,
                ALERT,
                str(build.partition),
                f"run {build.flow_run_id} of {build.partition} was asked to stop, and its worker"
                " has not let go: is the worker alive? Cancel the run in Prefect when it is over",
            )
            return False
        return await self._ends.replace(build, "the run did not stop when asked to", counted=True)

    async def _is_kept_waiting(self, build: ActiveBuild, run: RunState) -> bool:
        """Whether a run missed its start for a reason other than its worker."""
        hold = await self._deployments.hold_of(run)
        if hold is None:
            return False
        within = timedelta(seconds=self._settings.start_deadline)
        return await self._ledger.settlement.extend_start(build, f"the run waits: {hold}", within)

    async def _settle_unheld(self, build: ActiveBuild, *, is_working: bool) -> bool:
        """A build whose flow released it: its process is ending, or has died."""
        if build.abandoned_at is None:
            await self._ledger.settlement.record_abandoned(build.id, clock.now())
            return False
        if clock.now() - build.abandoned_at < self._grace:
            return False
        if build.state == BuildState.RUNNING:
            return await self._ends.replace(build, "the flow's process is gone", counted=True)
        # It reported its end before it died: only Prefect does not know yet. If the run died in
        # another build, that build's end says so.
        if build.flow_run_id is not None and not is_working:
            await self._deployments.conclude_run(
                build.flow_run_id, f"{build.state}; the process ended before it could say so"
            )
        return await self._ends.end(build, None)


def _by_run(builds: Sequence[ActiveBuild]) -> dict[UUID | int, list[ActiveBuild]]:
    """The builds grouped by the run that they share: what ends one may end the others."""
    runs: dict[UUID | int, list[ActiveBuild]] = {}
    for build in builds:
        runs.setdefault(build.flow_run_id or build.id, []).append(build)
    return runs
