"""How a build is ended: in Prefect, behind the warehouse's fence, then in the ledger."""

import contextlib
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog

from quicksilver.domain.partition import Partition
from quicksilver.domain.states import BuildState
from quicksilver.errors import LedgerUnavailableError
from quicksilver.ledger import ActiveBuild, Ledger
from quicksilver.orchestrator.deployments import Deployments
from quicksilver.orchestrator.run_state import RunState
from quicksilver.roles.alerts import clear_alert
from quicksilver.support import clock
from quicksilver.support.backoff import build_delay
from quicksilver.support.metrics import build_ended
from quicksilver.support.postgres import Row

_log = structlog.get_logger(__name__)

# The alert of a build that cannot be settled.
ALERT = "settle"

# From the request to stop until the build is ended, in seconds: the worker itself kills after 30 s.
_CANCEL_WITHIN = timedelta(seconds=45)

# After Prefect cancelled a run for a deployment's limit: other runs take a while to make room.
_POLICY_WAIT = timedelta(seconds=10)


class Warehouse(Protocol):
    """What the settler asks the warehouse."""

    async def revoke(self, partition: Partition, build_id: int) -> dict[str, Any] | None:
        """What the build published, or None after making sure that it never will."""
        ...


class BuildEnds:
    """Ends builds; each method says whether the build ended."""

    def __init__(self, ledger: Ledger, deployments: Deployments, warehouse: Warehouse) -> None:
        self._ledger = ledger
        self._deployments = deployments
        self._warehouse = warehouse

    def ends_by_run(self, build: ActiveBuild) -> bool:
        """Whether the run alone says how its build ends: the flow does not know Quicksilver."""
        dataset = self._ledger.datasets.by_name.get(build.partition.dataset)
        return dataset is not None and dataset.ends_by == "run"

    async def replace(self, build: ActiveBuild, why: str, *, counted: bool) -> bool:
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

    async def ask_to_stop(self, build: ActiveBuild) -> None:
        """A run past its time limit is to stop by itself."""
        why = "the build ran past the dataset's time limit"
        if await self._ledger.settlement.request_cancel(build, why, within=_CANCEL_WITHIN):
            await self._stop(build, why, force=False)

    async def _stop(self, build: ActiveBuild, why: str, *, force: bool) -> None:
        if build.flow_run_id is not None:
            await self._deployments.stop_run(build.flow_run_id, why, force=force)

    async def end(self, build: ActiveBuild, run: RunState | None) -> bool:
        if build.state == BuildState.PUBLISHED:
            return await self._finish(build, BuildState.SUCCEEDED)
        if build.state == BuildState.YIELDED:
            return await self._end_yielded(build)
        if run is not None and run.type == "COMPLETED" and self.ends_by_run(build):
            await self._ledger.runs.publish(
                build.id,
                rows_bronze=None,
                rows_silver=None,
                rows_rejected=None,
                loaded_at=None,
                details={},
            )
            return False
        cancelled = run is not None and run.type == "CANCELLED"
        if run is not None and run.is_cancelled_by_policy and build.cancel_requested_at is None:
            retry_at = clock.now() + _POLICY_WAIT
            return await self._give_up(build, run.message, counted=False, retry_at=retry_at)
        if cancelled and build.cancel_requested_at is None:
            why = "cancelled in Prefect; `quicksilver rebuild` starts it again"
            return await self._give_up(build, why, counted=True, state=BuildState.CANCELLED)
        why = (
            build.error
            or (run.message if run else "")
            or (f"the run ended {run.name} without publishing" if run else "")
            or "the run was deleted in Prefect"
        )
        failed = run is not None and run.type in ("FAILED", "COMPLETED")
        # A run that was replaced because it never began does not count as an attempt.
        never_began = build.state == BuildState.DISPATCHED and build.started_at is None
        counted = not (cancelled and never_began)
        return await self._give_up(
            build, why, counted=counted, state=BuildState.FAILED if failed else BuildState.LOST
        )

    async def _end_yielded(self, build: ActiveBuild) -> bool:
        """Build again what changed while it was read.

        A newer generation starts at once, with fresh attempts. With the same generation, the next
        listing may show the change; if it shows none, bronze contradicts its own listing, and the
        build must not be retried for ever.
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
        return await self._finish(
            build, BuildState.SUPERSEDED, error=error, counted=True, retry_at=retry_at
        )

    async def _give_up(
        self,
        build: ActiveBuild,
        why: str,
        *,
        counted: bool,
        state: BuildState = BuildState.LOST,
        retry_at: datetime | None = None,
    ) -> bool:
        # A user's own flow has no fence to lose.
        published = (
            None
            if self.ends_by_run(build)
            else await self._warehouse.revoke(build.partition, build.id)
        )
        if published is not None:
            # It published, and died before it could report that.
            await self._ledger.runs.publish(build.id, **published)
            return False
        dataset = self._ledger.datasets.by_name.get(build.partition.dataset)
        attempts = await self._ledger.settlement.attempts(build.partition) + int(counted)
        limit = dataset.attempts if dataset else 1
        if (
            retry_at is None
            and state != BuildState.CANCELLED
            and not build.is_final
            and (not counted or attempts < limit)
        ):
            retry_at = clock.now() + (build_delay(attempts) if counted else timedelta(0))
        return await self._finish(build, state, error=why, counted=counted, retry_at=retry_at)

    async def _finish(
        self,
        build: ActiveBuild,
        state: BuildState,
        *,
        error: str | None = None,
        counted: bool = False,
        retry_at: datetime | None = None,
    ) -> bool:
        """End the build in the ledger; the process that ended it records its metrics."""
        ended = await self._ledger.settlement.finish(
            build, state, error=error, counted=counted, retry_at=retry_at
        )
        if ended:
            if build.cancel_requested_at is not None:
                await clear_alert(self._ledger, ALERT, str(build.partition))
            # Failing the pass is not worth it for a metric that the ledger cannot give now.
            with contextlib.suppress(LedgerUnavailableError):
                row = await self._ledger.views.build(build.id)
                if row is not None:
                    build_ended(row, has_succeeded=state == BuildState.SUCCEEDED)
                    _log_end(row, error, retry_at)
        return ended


def _log_end(row: Row, error: str | None, retry_at: datetime | None) -> None:
    """One line for each end of a build; `seconds` are its own, from its claim on."""
    say = _log.info if row["state"] == BuildState.SUCCEEDED else _log.warning
    say(
        "build ended",
        dataset=row["dataset"],
        partition=row["partition"],
        generation=row["generation"],
        build=row["id"],
        outcome=row["state"],
        rows=row["rows_silver"],
        rejected=row["rows_rejected"],
        seconds=round((row["finished_at"] - row["claimed_at"]).total_seconds(), 2),
        **({"error": error} if error else {}),
        **({"retry_at": retry_at.isoformat()} if retry_at else {}),
    )
