"""The dispatcher: what is dirty and ready becomes a Prefect run, once.

Each build goes through phases, and a crash between any two leaves the next dispatcher enough to
go on: claim (committed), list bronze (no transaction), seal with manifest and key (committed),
create the run under that key (no transaction), mark (committed). Creating again under the same
key yields the same run.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from time import monotonic
from typing import Any

import structlog

from quicksilver.errors import (
    BronzeUnavailableError,
    DatasetsError,
    DeploymentNotFoundError,
    LedgerUnavailableError,
    PrefectUnavailableError,
    QuicksilverError,
)
from quicksilver.lake.bronze import Bronze, list_partition
from quicksilver.ledger import ClaimedBuild, Ledger, NoBuild, SealedBuild
from quicksilver.ledger.listener import LedgerListener, wait_or_timeout
from quicksilver.orchestrator.deployments import Deployments, trace_label
from quicksilver.settings import Settings
from quicksilver.support import clock, failpoint, tracing
from quicksilver.support.backoff import delay
from quicksilver.support.metrics import DISPATCH_ERRORS

_log = structlog.get_logger(__name__)

_REASONS: dict[type[QuicksilverError], str] = {
    BronzeUnavailableError: "bronze-unavailable",
    DeploymentNotFoundError: "deployment-not-found",
    DatasetsError: "dataset-unknown",
}

# Prefect's server creates about 23 runs a second; more at once only queue inside it.
_MAX_CONCURRENT = 4

# How often a listing is taken again because events arrived meanwhile, before the claim waits.
_MAX_LISTINGS = 5

# What a missing deployment or an unreachable MinIO waits before it is tried again, in seconds.
_RETRY = 10.0


class Dispatcher:
    """Claims due partitions and brings each to Prefect."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        bronze: Bronze,
        deployments: Deployments,
        owner: str,
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._bronze = bronze
        self._deployments = deployments
        self.owner = owner
        self._lease = timedelta(seconds=settings.claim_lease)
        self._beat_at = float("-inf")
        self._failures = 0
        # Claims of this owner that a pass could not bring to their end.
        self._is_behind = False
        self._at_once = asyncio.Semaphore(_MAX_CONCURRENT)

    async def run(self, wake: LedgerListener) -> None:
        """Dispatch until cancelled; wakes on NOTIFY, on a due time, and on a slow tick."""
        changed = wake.subscribe()
        try:
            await self._run(changed)
        finally:
            with contextlib.suppress(LedgerUnavailableError):
                await self._ledger.upkeep.retire(self.owner)

    async def _run(self, changed: asyncio.Event) -> None:
        while True:
            try:
                await self.run_once()
                pause = await self._pause()
            except LedgerUnavailableError as error:
                _log.warning("dispatch waits for the ledger", error=str(error))
                pause = 1.0
            await wait_or_timeout(changed, pause)
            if self._failures:
                # Prefect is away: a burst of events must not become a burst of attempts.
                await asyncio.sleep(delay(self._failures, base=0.25, cap=10))

    async def _pause(self) -> float:
        if self._failures:
            return 0.0
        due = await self._ledger.upkeep.next_due()
        ahead = (due - clock.now()).total_seconds() if due else self._settings.tick
        return min(self._settings.tick, max(ahead, 0.01))

    async def run_once(self) -> int:
        """One pass: take up what was left, claim what is due, bring it to Prefect.

        Returns:
            How many builds were brought to Prefect.

        Raises:
            LedgerUnavailableError: nothing can be claimed now.
        """
        builds: list[ClaimedBuild] = []
        if monotonic() - self._beat_at > self._settings.claim_lease / 4:
            await self._ledger.upkeep.beat(self.owner)
            adopted = await self._ledger.claims.adopt(self.owner, lease=self._lease)
            self._beat_at = monotonic()
            if adopted:
                _log.info("took over claims of a dispatcher that is gone", builds=adopted)
            builds += await self._ledger.claims.own_claims(self.owner)
        elif self._is_behind:
            builds += await self._ledger.claims.own_claims(self.owner)
        builds += await self._ledger.claims.claim(
            self.owner,
            slots=self._settings.max_running,
            lease=self._lease,
            batches=self._batches(),
        )
        results = await asyncio.gather(
            *(self._fire(run) for run in _by_run(builds)), return_exceptions=True
        )
        broken = [result for result in results if isinstance(result, BaseException)]
        self._is_behind = bool(broken) or None in results
        if None in results:
            self._failures += 1
        elif results:
            self._failures = 0
        if broken:
            # One build's trouble was not its neighbours'; all of them have ended by now.
            raise broken[0]
        return sum(result for result in results if isinstance(result, int))

    def _batches(self) -> dict[str, int]:
        """How many builds a run of each dataset may take, where its flow says that it takes any."""
        return {
            dataset.name: dataset.max_partitions_per_run
            for dataset in self._ledger.datasets.datasets
            if dataset.max_partitions_per_run > 1
            and self._deployments.takes(dataset.deployment, "batch")
        }

    async def _fire(self, builds: Sequence[ClaimedBuild]) -> int | None:
        """How many builds got a run, 0: none needs one now; None: Prefect is away.

        `builds` share a run. Each is sealed by itself, and one that needs no run, or cannot be
        sealed now, holds none of the others up.
        """
        async with self._at_once, self._traced(builds[0]):
            try:
                # Asked first: a claim that cannot be brought to Prefect needs no key.
                dataset = self._ledger.datasets.get(builds[0].partition.dataset)
                await self._deployments.deployment_id(dataset.deployment)
                sealed = [one for build in builds if (one := await self._seal(build))]
                if not sealed:
                    return 0
                failpoint.reach("after-seal-before-create")
                await self._create(sealed)
            except PrefectUnavailableError as error:
                DISPATCH_ERRORS.labels("prefect-unavailable").inc()
                _log.warning("builds wait for Prefect", error=str(error), **_named(builds[0]))
                return None
            except (DeploymentNotFoundError, DatasetsError) as error:
                # DatasetsError: a claim taken over from a replica that declares more datasets.
                for build in builds:
                    await self._put_off(build, error)
                return 0
            return len(sealed)

    async def _seal(self, build: ClaimedBuild) -> SealedBuild | None:
        # One that shares a run belongs to the trace of its own event; one alone is in it already.
        span = self._traced(build) if build.run_key else contextlib.nullcontext()
        try:
            async with span:
                sealed = await seal_listed(self._ledger, self._bronze, self.owner, build)
        except BronzeUnavailableError as error:
            await self._put_off(build, error)
            return None
        if isinstance(sealed, NoBuild):
            _log.info("no run needed", why=sealed.why, **_named(build))
            return None
        return sealed

    async def _put_off(self, build: ClaimedBuild, error: QuicksilverError) -> None:
        DISPATCH_ERRORS.labels(_REASONS.get(type(error), "other")).inc()
        _log.warning("the build waits", error=str(error), **_named(build))
        due = clock.now() + timedelta(seconds=_RETRY)
        await self._ledger.claims.release(build, self.owner, error=str(error), due_at=due)

    @asynccontextmanager
    async def _traced(self, build: ClaimedBuild) -> AsyncGenerator[None]:
        if not tracing.is_on():
            yield
            return
        partition = build.partition
        parent = await self._ledger.views.traceparent(partition)
        with tracing.span(
            "dispatch", parent=parent, dataset=partition.dataset, dt=partition.name, build=build.id
        ):
            yield

    async def _create(self, builds: Sequence[SealedBuild]) -> None:
        """One run for builds that share their run key, or for the one that has none."""
        first = builds[0]
        dataset = self._ledger.datasets.get(first.partition.dataset)
        name = first.partition.name
        parameters: dict[str, Any] = {
            "dataset": dataset.name,
            "dt": name,
            "generation": first.generation,
        }
        run_name = f"{dataset.name} {name} g{first.generation}.{first.attempt}"
        if first.run_key is not None:
            parameters["batch"] = first.run_key
            run_name = f"{dataset.name} {name} and {len(builds) - 1} more"
        run = await self._deployments.create_run(
            dataset.deployment,
            parameters=parameters,
            key=first.run_key or first.idempotency_key,
            run_name=run_name,
            tags=[f"dataset:{dataset.name}", *(f"dt:{b.partition.name}" for b in builds)],
            **trace_label(tracing.traceparent()),
        )
        failpoint.reach("after-create-before-mark")
        marked = await self._ledger.claims.mark_dispatched(
            builds,
            self.owner,
            run,
            start_within=timedelta(seconds=self._settings.start_deadline),
        )
        _log.info(
            "fired" if marked else "fired, but the build has moved on",
            dataset=dataset.name,
            partition=name,
            generation=first.generation,
            attempt=first.attempt,
            builds=len(builds),
            flow_run_id=str(run),
        )


def _by_run(builds: Sequence[ClaimedBuild]) -> list[list[ClaimedBuild]]:
    """Those that share a run together, in the order of their claims."""
    runs: dict[str | int, list[ClaimedBuild]] = {}
    for build in builds:
        runs.setdefault(build.run_key or build.id, []).append(build)
    return list(runs.values())


def _named(build: ClaimedBuild) -> dict[str, object]:
    return {
        "dataset": build.partition.dataset,
        "partition": build.partition.name,
        "build": build.id,
    }


async def seal_listed(
    ledger: Ledger, bronze: Bronze, owner: str, build: ClaimedBuild
) -> SealedBuild | NoBuild:
    """List a claimed partition's folder and fix it as what the build reads.

    Raises:
        BronzeUnavailableError: MinIO does not answer, or the folder changes faster than it can
            be listed.
    """
    dataset = ledger.datasets.get(build.partition.dataset)
    seen = build.generation
    for _ in range(_MAX_LISTINGS):
        listing = await list_partition(bronze, dataset, build.partition.name)
        sealed = await ledger.sealing.seal(build, owner, listing, seen)
        if not (isinstance(sealed, NoBuild) and sealed.why == "stale"):
            return sealed
        seen = await ledger.settlement.generation(build.partition)
    raise BronzeUnavailableError(
        f"{build.partition} changes faster than it can be listed; waiting for it to settle"
    )
