"""The dispatcher: what is dirty and ready becomes a Prefect run, once.

Each build goes through phases, and a crash between any two leaves the next dispatcher enough to
go on: claim (committed), list bronze (no transaction), seal with manifest and key (committed),
create the run under that key (no transaction), mark (committed). Creating again under the same
key yields the same run.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from time import monotonic

import structlog

from quicksilver.errors import (
    LedgerUnavailableError,
)
from quicksilver.lake.bronze import Bronze
from quicksilver.ledger import ClaimedBuild, Ledger
from quicksilver.orchestrator.deployments import Deployments
from quicksilver.roles.firing import Firing
from quicksilver.settings import Settings
from quicksilver.support import clock
from quicksilver.support.backoff import delay

_log = structlog.get_logger(__name__)

# Seconds for runs that are being created when the service is asked to stop: one call to Prefect.
_END_WITHIN = 2.0


class Dispatcher:
    """Claims due partitions and brings each to Prefect."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        bronze: Bronze,
        deployments: Deployments,
        owner: str,
        changed: asyncio.Event | None = None,
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._deployments = deployments
        self.owner = owner
        self._lease = timedelta(seconds=settings.claim_lease)
        self._beat_at = float("-inf")
        # Set when there is something to claim, or room to claim it; the loop waits for it.
        self._changed = changed or asyncio.Event()
        # Prefect's failures in a row, and until when it is not called.
        self._failures = 0
        self._away_until = 0.0
        self._firing = Firing(settings, ledger, bronze, deployments, owner)
        # Claims of this owner that a pass could not finish, and those in progress.
        self._is_behind = False
        self._under_way: dict[asyncio.Task[int | None], set[int]] = {}

    async def run_once(self) -> int:
        """One complete pass: resume what was left, claim what is due, bring it to Prefect.

        Returns:
            How many builds were brought to Prefect.

        Raises:
            LedgerUnavailableError: nothing can be claimed now.
        """
        results = await asyncio.gather(*await self._start(), return_exceptions=True)
        broken = [result for result in results if isinstance(result, BaseException)]
        if broken:
            # One build's error did not stop the others; all of them have ended by now.
            raise broken[0]
        return sum(result for result in results if isinstance(result, int))

    async def begin_once(self) -> int:
        """One pass that waits for none of its builds: one that is slow holds no other up.

        Returns:
            How many runs are on their way to Prefect.

        Raises:
            LedgerUnavailableError: nothing can be claimed now.
        """
        if monotonic() >= self._away_until:
            await self._start()
        return len(self._under_way)

    async def pause(self) -> float:
        """Seconds until the clock alone makes another pass worthwhile.

        Raises:
            LedgerUnavailableError: not known.
        """
        now = clock.now()
        moments = [await self._ledger.upkeep.next_due(), self._firing.misfits.next_trial()]
        seconds = [(moment - now).total_seconds() for moment in moments if moment]
        if self._failures:
            seconds.append(self._away_until - monotonic())
        return min(self._settings.tick, max(0.01, min(seconds, default=self._settings.tick)))

    async def retire(self) -> None:
        """End in good order: the claims need not wait for a lease."""
        if self._under_way:
            on_their_way = list(self._under_way)
            await asyncio.wait(on_their_way, timeout=_END_WITHIN)
            for task in on_their_way:
                task.cancel()
            await asyncio.wait(on_their_way)
        with suppress(LedgerUnavailableError):
            await self._ledger.upkeep.retire(self.owner)

    async def _start(self) -> list[asyncio.Task[int | None]]:
        """Claim what is due, and set each run on its way."""
        builds: list[ClaimedBuild] = []
        is_behind, self._is_behind = self._is_behind, False
        if monotonic() - self._beat_at > self._settings.claim_lease / 4:
            await self._ledger.upkeep.beat(self.owner)
            adopted = await self._ledger.claims.adopt(self.owner, lease=self._lease)
            self._beat_at = monotonic()
            if adopted:
                _log.info("took over claims of a dispatcher that is gone", builds=adopted)
            is_behind = True
        if is_behind:
            builds += await self._left()
        builds += await self._ledger.claims.claim(
            self.owner,
            slots=self._settings.max_running,
            lease=self._lease,
            batches=self._batches(),
            held=self._firing.misfits.held(),
            on_trial=self._firing.misfits.on_trial(),
        )
        started: list[asyncio.Task[int | None]] = []
        for run in _by_run(builds):
            task = asyncio.create_task(self._firing.fire(run, is_news=lambda: not self._failures))
            self._under_way[task] = {build.id for build in run}
            task.add_done_callback(self._arrived)
            started.append(task)
        return started

    async def _left(self) -> list[ClaimedBuild]:
        """This owner's claims that no task brings to Prefect; those of a paused dataset go back."""
        on_their_way = set[int]().union(*self._under_way.values())
        left: list[ClaimedBuild] = []
        for build in await self._ledger.claims.own_claims(self.owner):
            if build.id in on_their_way:
                continue
            if build.is_paused:
                await self._ledger.claims.release(
                    build, self.owner, error="the dataset is paused", due_at=clock.now()
                )
            else:
                left.append(build)
        return left

    def _arrived(self, task: asyncio.Task[int | None]) -> None:
        """A run is at Prefect, was given back, or waits for Prefect."""
        del self._under_way[task]
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._is_behind = True
            if not isinstance(error, LedgerUnavailableError):
                _log.error("a build could not be brought to Prefect", exc_info=error)
        elif task.result() is None:
            self._is_behind = True
            if not self._failures or monotonic() >= self._away_until:
                # Otherwise it belongs to the same burst: one failure, however many runs met it.
                self._failures += 1
                self._away_until = monotonic() + delay(self._failures, base=0.25, cap=10)
        else:
            self._failures = 0
        # A slot may be free again for the next build.
        self._changed.set()

    def _batches(self) -> dict[str, int]:
        """How many builds a run of each dataset may take, where its flow takes several."""
        return {
            dataset.name: dataset.max_partitions_per_run
            for dataset in self._ledger.datasets.datasets
            if dataset.max_partitions_per_run > 1
            and dataset.is_ours
            and self._deployments.takes(dataset.deployment, "batch")
        }


def _by_run(builds: Sequence[ClaimedBuild]) -> list[list[ClaimedBuild]]:
    """The builds grouped by the run that they share, in the order of their claims."""
    runs: dict[str | int, list[ClaimedBuild]] = {}
    for build in builds:
        runs.setdefault(build.run_key or build.id, []).append(build)
    return list(runs.values())
