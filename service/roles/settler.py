"""The settler: how builds end, read from Prefect's runs, the flows' own locks and the warehouse.

A build that published is a success whatever its run says; a build whose run is over without, or
whose process is gone, or whose time is over, is given up: first revoked in the warehouse, where
the answer is final, then in the ledger. A zombie of it can no longer write.
"""

import contextlib
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog

from quicksilver.domain.partition import Partition
from quicksilver.errors import (
    LedgerUnavailableError,
    PrefectUnavailableError,
    QuicksilverError,
    WarehouseUnavailableError,
)
from quicksilver.ledger import ActiveBuild, Ledger
from quicksilver.ledger.listener import LedgerListener, wait_or_timeout
from quicksilver.orchestrator.deployments import Deployments, RunState
from quicksilver.settings import Settings
from quicksilver.support import clock
from quicksilver.support.backoff import build_delay
from quicksilver.support.metrics import build_ended

_log = structlog.get_logger(__name__)

# From the request to stop to the last word, in seconds: a worker kills after 30 s of grace itself.
_CANCEL_WITHIN = timedelta(seconds=45)


class Warehouse(Protocol):
    """What the settler asks the warehouse."""

    async def revoke(self, partition: Partition, build_id: int) -> dict[str, Any] | None:
        """What the build published, or None after making sure that it never will."""
        ...

    async def newest_build(self) -> int:
        """The highest build id that ever held a fence."""
        ...


class Settler:
    """Settles active builds."""

    def __init__(
        self, settings: Settings, ledger: Ledger, deployments: Deployments, warehouse: Warehouse
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._deployments = deployments
        self._warehouse = warehouse
        self._grace = timedelta(seconds=settings.abandon_grace)
        self._is_aligned = False

    async def run(self, wake: LedgerListener) -> None:
        """Settle until cancelled: often while builds are active, on a slow tick otherwise."""
        changed = wake.subscribe()
        while True:
            try:
                if not self._is_aligned:
                    await self.align()
                active = await self.run_once()
            except LedgerUnavailableError as error:
                _log.warning("settling waits for the ledger", error=str(error))
                active = 0
            except QuicksilverError as error:
                _log.warning("settling waits", error=str(error))
                active = 1
            if active:
                await wait_or_timeout(changed, self._settings.settle_interval)
            else:
                await wait_or_timeout(changed, self._settings.tick)

    async def align(self) -> None:
        """Make sure that coming builds may publish: a ledger made anew, or restored from a backup,
        would give ids to builds that the warehouse's fences take for given up.

        Raises:
            LedgerUnavailableError, WarehouseUnavailableError: not known yet.
        """
        newest = await self._warehouse.newest_build()
        if await self._ledger.upkeep.raise_build_ids(newest):
            _log.warning("the warehouse knows newer builds than the ledger", newest=newest)
        self._is_aligned = True

    async def run_once(self) -> int:
        """One pass over the active builds; how many are still active after it.

        Raises:
            LedgerUnavailableError, PrefectUnavailableError, WarehouseUnavailableError: nothing
            more can be said now.
        """
        builds = await self._ledger.settlement.active_builds()
        # A running build that is held speaks for itself; the others are asked about in one call.
        asked = [
            b.flow_run_id
            for b in builds
            if b.flow_run_id is not None
            and b.state != "claimed"
            and (b.state != "running" or not b.is_held or _is_late(b))
        ]
        states: dict[Any, RunState] = {}
        if asked:
            states = await self._deployments.states(asked)
        working = {b.flow_run_id for b in builds if b.state == "running"}
        ended = 0
        problem: QuicksilverError | None = None
        for build in builds:
            try:
                if build.flow_run_id in asked and build.flow_run_id is not None:
                    ended += await self._settle(
                        build,
                        states.get(build.flow_run_id),
                        is_working=build.flow_run_id in working,
                    )
                elif build.abandoned_at is not None and build.is_held:
                    await self._ledger.settlement.record_abandoned(build.id, None)
            except (PrefectUnavailableError, WarehouseUnavailableError) as error:
                # One build that cannot be settled now does not hold the others up.
                problem = problem or error
        if problem is not None:
            raise problem
        return len(builds) - ended

    async def _settle(self, build: ActiveBuild, run: RunState | None, *, is_working: bool) -> bool:
        """Whether the build ended. `is_working`: its run has a build that is not published yet."""
        if run is None or run.is_terminal:
            return await self._end(build, run)
        if build.state in ("running", "published", "yielded") and not build.is_held:
            return await self._settle_unheld(build, is_working=is_working)
        is_asked_to_stop = build.cancel_requested_at is not None
        if build.state == "dispatched":
            if not (_is_late(build) or is_asked_to_stop):
                return False
            why = f"the run stayed {run.name} past its deadline: is a worker polling?"
            return await self._replace(build, why, counted=False)
        if not _is_late(build):
            return False
        if not is_asked_to_stop:
            why = "the build ran past the dataset's time limit"
            if await self._ledger.settlement.request_cancel(build, why, within=_CANCEL_WITHIN):
                await self._stop(build, why, force=False)
            return False
        if build.state in ("published", "yielded"):
            return await self._end(build, None)
        return await self._replace(build, "the run did not stop when asked to", counted=True)

    async def _settle_unheld(self, build: ActiveBuild, *, is_working: bool) -> bool:
        """A build whose flow lets go of it: its process is ending, or has died."""
        if build.abandoned_at is None:
            await self._ledger.settlement.record_abandoned(build.id, clock.now())
            return False
        if clock.now() - build.abandoned_at < self._grace:
            return False
        if build.state == "running":
            return await self._replace(build, "the flow's process is gone", counted=True)
        # It had said how it ended before it died: only Prefect does not know yet. Of a run that
        # died over another build, that build's end says it.
        if build.flow_run_id is not None and not is_working:
            await self._deployments.conclude_run(
                build.flow_run_id, f"{build.state}; the process ended before it could say so"
            )
        return await self._end(build, None)

    async def _replace(self, build: ActiveBuild, why: str, *, counted: bool) -> bool:
        """End a run that does not end itself, and its build.

        The ledger first: a run found cancelled with no such note was cancelled by a person.
        """
        why = build.error or why
        if build.cancel_requested_at is None and not await self._ledger.settlement.request_cancel(
            build, why, within=_CANCEL_WITHIN
        ):
            return False
        await self._stop(build, why, force=True)
        return await self._give_up(build, why, counted=counted)

    async def _stop(self, build: ActiveBuild, why: str, *, force: bool) -> None:
        if build.flow_run_id is not None:
            await self._deployments.stop_run(build.flow_run_id, why, force=force)

    async def _end(self, build: ActiveBuild, run: RunState | None) -> bool:
        if build.state == "published":
            return await self._finish(build, "succeeded")
        if build.state == "yielded":
            return await self._end_yielded(build)
        cancelled = run is not None and run.type == "CANCELLED"
        if cancelled and build.cancel_requested_at is None:
            why = "cancelled in Prefect; `quicksilver rebuild` starts it again"
            return await self._give_up(build, why, counted=True, state="cancelled")
        why = (
            build.error
            or (run.message if run else "")
            or (f"the run ended {run.name} without publishing" if run else "")
            or "the run was deleted in Prefect"
        )
        failed = run is not None and run.type in ("FAILED", "COMPLETED")
        # A run that never began and was replaced for it used no attempt up.
        counted = not (cancelled and build.state == "dispatched")
        return await self._give_up(
            build, why, counted=counted, state="failed" if failed else "lost"
        )

    async def _end_yielded(self, build: ActiveBuild) -> bool:
        """Build anew what changed while it was read.

        With a newer generation that begins at once, and afresh. With the same one the next listing
        may show what changed; when it shows the same again, bronze contradicts its own listing,
        and that must not be asked for ever.
        """
        dataset = self._ledger.datasets.by_name.get(build.partition.dataset)
        attempts = await self._ledger.settlement.attempts(build.partition) + 1
        error = build.error
        retry_at: datetime | None = clock.now()
        if attempts >= (dataset.attempts if dataset else 1):
            error = f"{error}; {attempts} builds met this, and the listing names no other"
            retry_at = None
        elif attempts > 1:
            retry_at = clock.now() + build_delay(attempts - 1)
        return await self._finish(build, "superseded", error=error, counted=True, retry_at=retry_at)

    async def _give_up(
        self, build: ActiveBuild, why: str, *, counted: bool, state: str = "lost"
    ) -> bool:
        published = await self._warehouse.revoke(build.partition, build.id)
        if published is not None:
            # It did publish, and died before it could say so.
            await self._ledger.runs.publish(build.id, **published)
            return False
        dataset = self._ledger.datasets.by_name.get(build.partition.dataset)
        attempts = await self._ledger.settlement.attempts(build.partition) + int(counted)
        limit = dataset.attempts if dataset else 1
        retry_at = None
        if state != "cancelled" and (not counted or attempts < limit):
            retry_at = clock.now() + (build_delay(attempts) if counted else timedelta(0))
        ended = await self._finish(build, state, error=why, counted=counted, retry_at=retry_at)
        if ended:
            _log.warning(
                "build ended without publishing",
                dataset=build.partition.dataset,
                partition=build.partition.name,
                generation=build.generation,
                state=state,
                error=why,
                retry_at=retry_at.isoformat() if retry_at else None,
            )
        return ended

    async def _finish(
        self,
        build: ActiveBuild,
        state: str,
        *,
        error: str | None = None,
        counted: bool = False,
        retry_at: datetime | None = None,
    ) -> bool:
        """End the build in the ledger; whoever ended it measures it."""
        ended = await self._ledger.settlement.finish(
            build, state, error=error, counted=counted, retry_at=retry_at
        )
        if ended:
            # A measure that the ledger cannot give now is not worth the pass.
            with contextlib.suppress(LedgerUnavailableError):
                row = await self._ledger.views.build(build.id)
                if row is not None:
                    build_ended(row)
        return ended


def _is_late(build: ActiveBuild) -> bool:
    return build.deadline_at is not None and build.deadline_at < clock.now()
