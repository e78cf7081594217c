"""From a claim to a Prefect run: the folder is listed, the build sealed, the run created."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext
from datetime import timedelta

import structlog

from quicksilver.domain.datasets import Dataset
from quicksilver.domain.parameters import Asked, fill, parameters_of, values
from quicksilver.domain.states import Needless
from quicksilver.errors import (
    BronzeUnavailableError,
    DatasetsError,
    DeploymentNotFoundError,
    DeploymentRefusedError,
    PrefectUnavailableError,
    QuicksilverError,
)
from quicksilver.lake.bronze import Bronze, list_partition
from quicksilver.ledger import ClaimedBuild, Ledger, NoBuild, SealedBuild
from quicksilver.orchestrator.deployments import Deployments, trace_label
from quicksilver.roles.alerts import clear_alert, raise_alert
from quicksilver.roles.misfits import Misfits
from quicksilver.settings import Settings
from quicksilver.support import failpoint, tracing
from quicksilver.support.metrics import DISPATCH_ERRORS

_log = structlog.get_logger(__name__)

# Seconds for one listing; a folder that takes longer is tried again, without holding a slot.
_LIST_WITHIN = 60.0

# How often a listing is repeated because events arrived meanwhile, before the claim waits.
_MAX_LISTINGS = 5


_REASONS: dict[type[QuicksilverError], str] = {
    BronzeUnavailableError: "bronze-unavailable",
    DeploymentNotFoundError: "deployment-not-found",
    DeploymentRefusedError: "deployment-refused",
    DatasetsError: "dataset-unknown",
}

# Prefect's server creates about 23 runs a second; more at once would only queue there.
_MAX_CONCURRENT = 4

# Concurrent listings of one dataset: a slow bucket leaves threads for the others.
_MAX_LISTED = 2

# The alert of a dataset whose builds cannot begin.
_ALERT = "misfit"


class Firing:
    """Brings claimed builds to Prefect in parallel, and postpones those that cannot go now."""

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
        self._owner = owner
        self.misfits = Misfits()
        self._creating = asyncio.Semaphore(_MAX_CONCURRENT)
        self._listing = defaultdict[str, asyncio.Semaphore](lambda: asyncio.Semaphore(_MAX_LISTED))

    async def fire(
        self, builds: Sequence[ClaimedBuild], *, is_news: Callable[[], bool]
    ) -> int | None:
        """How many builds got a run, 0: none needs one now; None: Prefect is away.

        `builds` share a run, and `is_news` whether Prefect was there before. Each is sealed by
        itself, and one that needs no run, or cannot be sealed now, holds none of the others up.
        """
        try:
            dataset = self._ledger.datasets.get(builds[0].partition.dataset)
        except DatasetsError as error:
            # The claim came from a replica that declares more datasets.
            await self._put_off(builds, error, [builds[0].partition.dataset])
            return 0
        async with self._traced(builds[0]):
            try:
                # Checked first: a claim that cannot be brought to Prefect needs no key.
                await self._deployments.deployment_id(dataset.deployment)
                sealed = [one for build in builds if (one := await self._seal(build))]
                if not sealed:
                    return 0
                failpoint.reach("after-seal-before-create")
                async with self._creating:
                    await create_run(
                        self._settings, self._ledger, self._deployments, self._owner, sealed
                    )
            except PrefectUnavailableError as error:
                DISPATCH_ERRORS.labels("prefect-unavailable").inc()
                if is_news():
                    _log.warning("builds wait for Prefect", error=str(error), **_named(builds[0]))
                return None
            except DeploymentRefusedError as error:
                await self._put_off(builds, error, self._users_of(dataset))
                return 0
        if self.misfits.clear(dataset.name):
            await clear_alert(self._ledger, _ALERT, dataset.name)
        return len(sealed)

    def _users_of(self, dataset: Dataset) -> list[str]:
        """The datasets that share a dataset's deployment."""
        declared = self._ledger.datasets.datasets
        return [d.name for d in declared if d.deployment == dataset.deployment]

    async def _seal(self, build: ClaimedBuild) -> SealedBuild | None:
        # A build that shares a run joins its own event's trace; a single build is in it already.
        span = self._traced(build) if build.run_key else nullcontext()
        name = build.partition.dataset
        try:
            async with self._listing[name], span:
                sealed = await seal_listed(self._ledger, self._bronze, self._owner, build)
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
        """Give claims back, and let the datasets in trouble wait for a while."""
        DISPATCH_ERRORS.labels(_REASONS.get(type(error), "other")).inc(len(builds))
        until = self.misfits.record(datasets, str(error))
        is_refused = isinstance(error, DeploymentRefusedError)
        for build in builds:
            await self._ledger.claims.release(
                build, self._owner, error=str(error), due_at=until, counted=is_refused
            )
        for name in self.misfits.to_name(datasets):
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


async def create_run(
    settings: Settings,
    ledger: Ledger,
    deployments: Deployments,
    owner: str,
    builds: Sequence[SealedBuild],
) -> None:
    """One run for builds that share their run key, or for the one that has none."""
    first = builds[0]
    dataset = ledger.datasets.get(first.partition.dataset)
    name = first.partition.name
    asked = Asked(first.partition, first.generation, first.attempt, first.files)
    taken = deployments.taken(dataset.deployment)
    parameters = parameters_of(dataset, asked, taken)
    run_name = f"{dataset.name} {name} g{first.generation}.{first.attempt}"
    if first.run_key is not None:
        parameters["batch"] = first.run_key
    if len(builds) > 1:
        run_name = f"{dataset.name} {name} and {len(builds) - 1} more"
    run = await deployments.create_run(
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
    marked = await ledger.claims.mark_dispatched(
        builds,
        owner,
        run,
        start_within=timedelta(seconds=settings.start_deadline),
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


def _named(build: ClaimedBuild) -> dict[str, object]:
    """A build as a line of the log names it."""
    return {
        "dataset": build.partition.dataset,
        "partition": build.partition.name,
        "build": build.id,
    }
