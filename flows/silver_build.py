"""`silver-build`: bring one partition's silver to its newest generation.

Fired by the dispatcher, one run a build; started by hand or as a subflow it claims the partition
for itself through the same ledger. The run reads exactly the manifest of its build.
"""

from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect import State, flow, get_run_logger
from prefect.context import FlowRunContext
from prefect.states import Completed

from quicksilver.domain.datasets import Dataset
from quicksilver.domain.partition import Partition
from quicksilver.domain.states import PartitionState
from quicksilver.errors import BuildRefusedError
from quicksilver.flows.context import FlowContext, opened
from quicksilver.flows.ensure_built import ensure_built
from quicksilver.flows.failover import failing_over
from quicksilver.flows.leases import take_up
from quicksilver.flows.silver_batch import build_together
from quicksilver.ledger import BegunBuild, SealedBuild
from quicksilver.roles.firing import seal_listed
from quicksilver.roles.sweep import Sweep
from quicksilver.support import failpoint

# A run started by hand takes none of the service's slots: their number must not refuse it.
_NO_LIMIT = 1_000_000

# A partition that another run builds, or has built by now, well or not.
_TAKEN_UP = (PartitionState.RUNNING, PartitionState.BUILT, PartitionState.FAILED)


@flow(name="silver-build")
async def silver_build(
    dataset: str, dt: str, generation: int | None = None, batch: str | None = None
) -> State[Any]:
    """Build one partition: bronze parquet, dbt, one commit.

    `dt` is the partition's name, `2024-05-01`. `generation` says what the dispatcher asked for; the
    ledger's build, found by the run's idempotency key, decides. `batch` is that key where several
    builds share the run: `dt` is the first of them then, and each has a commit of its own.

    Raises:
        QuicksilverError: the build failed; the message is the sentence that a person needs.
    """
    logger = get_run_logger()
    partition = Partition(dataset, dt)
    failpoint.reach("before-begin")
    async with opened() as lake:
        declared = lake.ledger.datasets.get(dataset)
        builds = await _begin(lake, partition, declared, batch)
        if not builds:
            said = await _why_none(lake, partition)
            logger.info(said)
            return Completed(name="NotNeeded", message=said)
        if len(builds) == 1 and generation not in (None, builds[0].generation):
            asked, built = generation, builds[0].generation
            logger.info("generation %s was asked for, %s is built", asked, built)
        return await build_together(lake, declared, builds)


async def _begin(
    lake: FlowContext, partition: Partition, declared: Dataset, batch: str | None
) -> list[BegunBuild]:
    """The builds that this run is for; none when there is nothing (more) to do for it."""
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run is None:
        raise BuildRefusedError("silver-build runs as a Prefect flow run only")
    key = run.idempotency_key
    # A copy of a run, started by hand, has its parameters but not its key.
    if key is None or not (key == batch or key.startswith(f"{partition}:")):
        sealed = await _claim(lake, partition, run.id)
        if sealed is None:
            return []
        key = sealed.idempotency_key
    builds = await take_up(lake, declared, key, run.id)
    if not builds and key == run.idempotency_key:
        return await _begin_again(lake, declared, partition, run.id, key)
    return builds


async def _begin_again(
    lake: FlowContext, declared: Dataset, partition: Partition, run: UUID, key: str
) -> list[BegunBuild]:
    """The builds of a run whose own are over: Prefect's Retry rebuilds what failed in it.

    None when silver holds what they were for, or another run brings it there.

    Raises:
        BuildRefusedError: what failed cannot be built by this run; the message says what to do.
        QuicksilverError: another run rebuilds it, and failed.
    """
    begun: list[BegunBuild] = []
    elsewhere: list[Partition] = []
    for one in await lake.ledger.runs.partitions_of(key) or [partition]:
        row = await lake.ledger.views.partition(one)
        if row is None or row["shown_state"] not in (PartitionState.FAILED, PartitionState.PAUSED):
            continue
        if row["shown_state"] == PartitionState.PAUSED:
            raise BuildRefusedError(
                f"{one} is paused: `quicksilver resume {one.dataset}` builds it"
            )
        await lake.ledger.recording.rebuild([one], asked_by="Retry in Prefect")
        try:
            sealed = await _claim(lake, one, run)
        except BuildRefusedError:
            row = await lake.ledger.views.partition(one)
            if row is None or row["shown_state"] not in _TAKEN_UP:
                raise
            # The dispatcher was quicker: its run is the rebuild.
            elsewhere.append(one)
            continue
        if sealed is not None:
            begun += await take_up(lake, declared, sealed.idempotency_key, run)
    if elsewhere and not begun:
        # This run has nothing else to do, and ends as the rebuild does.
        await ensure_built(lake, elsewhere, _build_here, patience=declared.time_limit)
    return begun


async def _build_here(partition: Partition) -> None:
    await silver_build(partition.dataset, partition.name)


async def _why_none(lake: FlowContext, partition: Partition) -> str:
    """Why a run has nothing to do.

    Raises:
        BuildRefusedError: its partition failed all the same; the message says what to do.
    """
    row = await lake.ledger.views.partition(partition)
    state = row["shown_state"] if row else "unknown"
    if row and state == PartitionState.FAILED:
        raise BuildRefusedError(
            f"{partition} is failed ({row['error']}), and this run has no build of it:"
            f" `quicksilver rebuild {partition.dataset} {partition.name}` builds it"
        )
    if row and state == PartitionState.BUILT:
        return f"{partition} is built at generation {row['built_generation']}: nothing to do"
    return f"{partition} is {state}, and another run builds it"


async def _claim(lake: FlowContext, partition: Partition, run: UUID) -> SealedBuild | None:
    """Claim a partition for this run, after telling the ledger what bronze holds.

    Raises:
        BuildRefusedError: another run builds it now, or bronze holds nothing of it.
    """
    ledger = lake.ledger
    await ledger.upkeep.sync_datasets()
    sweep = Sweep(lake.settings, ledger, lake.bronze)
    await sweep.compare(
        ledger.datasets.get(partition.dataset), lane="poll", partition=partition.name
    )
    owner = f"flow-run:{run}"
    lease = timedelta(seconds=lake.settings.claim_lease)
    claims = await ledger.claims.claim(owner, slots=_NO_LIMIT, lease=lease, only=partition)
    if not claims:
        async with failing_over(lake.settings, ledger) as failover:
            if await failover.is_wanted():
                # Nothing else ends the build that holds it, perhaps one of the same kind.
                await failover.run_once()
                claims = await ledger.claims.claim(
                    owner, slots=_NO_LIMIT, lease=lease, only=partition
                )
    if claims:
        sealed = await seal_listed(ledger, lake.bronze, owner, claims[0])
        if not isinstance(sealed, SealedBuild):
            return None
        start_within = timedelta(seconds=lake.settings.start_deadline)
        await ledger.claims.mark_dispatched([sealed], owner, run, start_within=start_within)
        return sealed
    row = await ledger.views.partition(partition)
    if row is None:
        raise BuildRefusedError(f"bronze holds no object of {partition}")
    if row["shown_state"] == PartitionState.BUILT:
        return None
    raise BuildRefusedError(
        f"{partition} is {row['shown_state']}"
        f" ({row['wait_reason'] or row['error'] or 'another run builds it'})"
    )
