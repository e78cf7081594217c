"""The dispatcher: what is dirty and ready becomes a Prefect run, once.

Each build goes through phases, and a crash between any two leaves the next dispatcher enough to
go on: claim (committed), list bronze (no transaction), seal with manifest and key (committed),
create the run under that key (no transaction), mark (committed). Creating again under the same
key yields the same run.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from datetime import timedelta
from time import monotonic

import structlog

from quicksilver.domain.datasets import Dataset
from quicksilver.domain.parameters import Asked, fill, parameters_of, values
from quicksilver.domain.states import Needless
from quicksilver.errors import (
    BronzeUnavailableError,
    DatasetsError,
    DeploymentNotFoundError,
    DeploymentRefusedError,
    LedgerUnavailableError,
    PrefectUnavailableError,
    QuicksilverError,
)
from quicksilver.lake.bronze import Bronze, list_partition
from quicksilver.ledger import ClaimedBuild, Ledger, NoBuild, SealedBuild
from quicksilver.orchestrator.deployments import Deployments, trace_label
from quicksilver.roles.alerts import clear_alert, raise_alert
from quicksilver.roles.misfits import Misfits
from quicksilver.settings import Settings
from quicksilver.support import clock, failpoint, tracing
from quicksilver.support.backoff import delay
from quicksilver.support.metrics import DISPATCH_ERRORS

_log = structlog.get_logger(__name__)

_REASONS: dict[type[QuicksilverError], str] = {
    BronzeUnavailableError: "bronze-unavailable",
    DeploymentNotFoundError: "deployment-not-found",
    DeploymentRefusedError: "deployment-refused",
    DatasetsError: "dataset-unknown",
}

# Prefect's server creates about 23 runs a second; more at once only queue inside it.
_MAX_CONCURRENT = 4

# Listings of one dataset at once: a bucket that answers slowly leaves threads to the others.
_MAX_LISTED = 2

# Seconds for one listing; a folder that takes longer is tried again, and takes nobody's slot.
_LIST_WITHIN = 60.0

# How often a listing is taken again because events arrived meanwhile, before the claim waits.
_MAX_LISTINGS = 5


# Seconds for what is on its way when the service is asked to stop: one call of Prefect's.
_END_WITHIN = 2.0

# The alert of a dataset of which no build can begin.
_ALERT = "misfit"


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
        self._bronze = bronze
        self._deployments = deployments
        self.owner = owner
        self._lease = timedelta(seconds=settings.claim_lease)
        self._beat_at = float("-inf")
        # Set when there is something to claim, or room to claim it; the loop waits for it.
        self._changed = changed or asyncio.Event()
        # Prefect's failures in a row, and until when nothing is asked of it.
        self._failures = 0
        self._away_until = 0.0
        self._misfits = Misfits()
        # Claims of this owner that a pass could not bring to their end, and those on their way.
        self._is_behind = False
        self._under_way: dict[asyncio.Task[int | None], set[int]] = {}
        self._creating = asyncio.Semaphore(_MAX_CONCURRENT)
        self._listing = defaultdict[str, asyncio.Semaphore](lambda: asyncio.Semaphore(_MAX_LISTED))

    async def run_once(self) -> int:
        """One pass to its end: take up what was left, claim what is due, bring it to Prefect.

        Returns:
            How many builds were brought to Prefect.

        Raises:
            LedgerUnavailableError: nothing can be claimed now.
        """
        results = await asyncio.gather(*await self._start(), return_exceptions=True)
        broken = [result for result in results if isinstance(result, BaseException)]
        if broken:
            # One build's trouble was not its neighbours'; all of them have ended by now.
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
        moments = [await self._ledger.upkeep.next_due(), self._misfits.next_trial()]
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
            held=self._misfits.held(),
            on_trial=self._misfits.on_trial(),
        )
        started: list[asyncio.Task[int | None]] = []
        for run in _by_run(builds):
            task = asyncio.create_task(self._fire(run))
            self._under_way[task] = {build.id for build in run}
            task.add_done_callback(self._arrived)
            started.append(task)
        return started

    async def _left(self) -> list[ClaimedBuild]:
        """This owner's claims that nothing brings to Prefect; those of a paused dataset go back."""
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
                # Otherwise it is of the same burst: one failure, however many runs met it.
                self._failures += 1
                self._away_until = monotonic() + delay(self._failures, base=0.25, cap=10)
        else:
            self._failures = 0
        # A slot may be free again: for the next in turn.
        self._changed.set()

    def _batches(self) -> dict[str, int]:
        """How many builds a run of each dataset may take, where its flow says that it takes any."""
        return {
            dataset.name: dataset.max_partitions_per_run
            for dataset in self._ledger.datasets.datasets
            if dataset.max_partitions_per_run > 1
            and dataset.is_ours
            and self._deployments.takes(dataset.deployment, "batch")
        }

    async def _fire(self, builds: Sequence[ClaimedBuild]) -> int | None:
        """How many builds got a run, 0: none needs one now; None: Prefect is away.

        `builds` share a run. Each is sealed by itself, and one that needs no run, or cannot be
        sealed now, holds none of the others up.
        """
        try:
            dataset = self._ledger.datasets.get(builds[0].partition.dataset)
        except DatasetsError as error:
            # A claim taken over from a replica that declares more datasets.
            await self._put_off(builds, error, [builds[0].partition.dataset])
            return 0
        async with self._traced(builds[0]):
            try:
                # Asked first: a claim that cannot be brought to Prefect needs no key.
                await self._deployments.deployment_id(dataset.deployment)
                sealed = [one for build in builds if (one := await self._seal(build))]
                if not sealed:
                    return 0
                failpoint.reach("after-seal-before-create")
                async with self._creating:
                    await self._create(sealed)
            except PrefectUnavailableError as error:
                DISPATCH_ERRORS.labels("prefect-unavailable").inc()
                if not self._failures:
                    _log.warning("builds wait for Prefect", error=str(error), **_named(builds[0]))
                return None
            except DeploymentRefusedError as error:
                await self._put_off(builds, error, self._users_of(dataset))
                return 0
        if self._misfits.clear(dataset.name):
            await clear_alert(self._ledger, _ALERT, dataset.name)
        return len(sealed)

    def _users_of(self, dataset: Dataset) -> list[str]:
        """The datasets that share a dataset's deployment."""
        declared = self._ledger.datasets.datasets
        return [d.name for d in declared if d.deployment == dataset.deployment]

    async def _seal(self, build: ClaimedBuild) -> SealedBuild | None:
        # One that shares a run belongs to the trace of its own event; one alone is in it already.
        span = self._traced(build) if build.run_key else nullcontext()
        name = build.partition.dataset
        try:
            async with self._listing[name], span:
                sealed = await seal_listed(self._ledger, self._bronze, self.owner, build)
        except BronzeUnavailableError as error:
            await self._put_off([build], error, [name])
            return None
        if isinstance(sealed, NoBuild):
            _log.info("no run needed", why=sealed.why, **_named(build))
            return None
        return sealed

    async def _put_off(
        self, builds: Sequence[ClaimedBuild], error: QuicksilverError, datasets: Sequence[str]
    ) -> None:
        """Give claims back, and leave the datasets whose trouble it is alone for a while."""
        DISPATCH_ERRORS.labels(_REASONS.get(type(error), "other")).inc(len(builds))
        until = self._misfits.record(datasets, str(error))
        is_refused = isinstance(error, DeploymentRefusedError)
        for build in builds:
            await self._ledger.claims.release(
                build, self.owner, error=str(error), due_at=until, counted=is_refused
            )
        for name in self._misfits.to_name(datasets):
            await raise_alert(self._ledger, _ALERT, name, f"no build of {name} can begin: {error}")

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
        asked = Asked(first.partition, first.generation, first.attempt, first.files)
        taken = self._deployments.taken(dataset.deployment)
        parameters = parameters_of(dataset, asked, taken)
        run_name = f"{dataset.name} {name} g{first.generation}.{first.attempt}"
        if first.run_key is not None:
            parameters["batch"] = first.run_key
        if len(builds) > 1:
            run_name = f"{dataset.name} {name} and {len(builds) - 1} more"
        run = await self._deployments.create_run(
            dataset.deployment,
            parameters=parameters,
            key=first.run_key or first.idempotency_key,
            run_name=run_name,
            tags=[
                f"dataset:{dataset.name}",
                *(f"dt:{b.partition.name}" for b in builds),
                *dataset.tags,
            ],
            job_variables=fill(dataset.job_variables, values(dataset, asked)) or None,
            work_queue=dataset.work_queue,
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
        try:
            async with asyncio.timeout(_LIST_WITHIN):
                listing = await list_partition(bronze, dataset, build.partition.name)
        except TimeoutError as error:
            raise BronzeUnavailableError(
                f"bronze of {build.partition} was not listed within {_LIST_WITHIN:g} s"
            ) from error
        sealed = await ledger.sealing.seal(build, owner, listing, seen)
        if not (isinstance(sealed, NoBuild) and sealed.why is Needless.STALE):
            return sealed
        seen = await ledger.settlement.generation(build.partition)
    raise BronzeUnavailableError(
        f"{build.partition} changes faster than it can be listed; waiting for it to settle"
    )
