"""A run that has several builds: each is told of by itself, in the ledger and to people."""

from collections.abc import Sequence
from typing import Any

from prefect import State, get_run_logger
from prefect.states import Completed

from quicksilver.build.batch import BuildOutcome, build_batch
from quicksilver.build.partition import BuildResult
from quicksilver.domain.datasets import Dataset
from quicksilver.errors import ManifestChangedError, QuicksilverError
from quicksilver.flows.context import FlowContext
from quicksilver.flows.leases import build_leases, mark_published
from quicksilver.flows.run_report import leave_batch_report
from quicksilver.flows.run_trace import trace_steps, traced
from quicksilver.ledger import BegunBuild
from quicksilver.support import failpoint


async def build_together(
    lake: FlowContext, dataset: Dataset, builds: Sequence[BegunBuild]
) -> State[Any]:
    """Build all of them; the run fails when any did, and what is published stands.

    Raises:
        QuicksilverError: some failed; the message names each with its reason.
    """
    logger = get_run_logger()
    outcomes: dict[BegunBuild, BuildOutcome] = {}

    async def tell(build: BegunBuild, outcome: BuildOutcome) -> None:
        outcomes[build] = outcome
        if isinstance(outcome, BuildResult):
            failpoint.reach("after-warehouse-commit-before-mark")
            await mark_published(lake, build, outcome)
            logger.info(
                "%s generation %d: %d rows in bronze, %d in silver, %d rejected",
                build.partition,
                build.generation,
                outcome.rows_bronze,
                outcome.rows_silver,
                outcome.rows_rejected,
            )
        elif isinstance(outcome, ManifestChangedError):
            await lake.ledger.runs.yield_build(build.id, str(outcome))
            logger.info("bronze changed meanwhile, the next build takes over: %s", outcome)
        else:
            await lake.ledger.runs.record_error(build.id, str(outcome), is_final=outcome.is_final)
            logger.error("%s: %s", build.partition, outcome)

    async with build_leases(lake, builds), traced(lake.settings, builds[0], together=len(builds)):
        try:
            await build_batch(lake.settings, dataset, builds, tell)
        except QuicksilverError as error:
            for build in builds:
                if build not in outcomes:
                    await lake.ledger.runs.record_error(
                        build.id, str(error), is_final=error.is_final
                    )
            raise
        built = [one for one in outcomes.values() if isinstance(one, BuildResult)]
        if built:
            trace_steps(built[-1].timings)
        failpoint.reach("after-mark-before-end")
    await leave_batch_report(lake.settings, outcomes)
    failed = {
        build: outcome
        for build, outcome in outcomes.items()
        if not isinstance(outcome, BuildResult | ManifestChangedError)
    }
    if failed:
        reasons = "; ".join(f"{b.partition.name}: {why}" for b, why in failed.items())
        raise QuicksilverError(f"{len(failed)} of {len(builds)} partitions failed: {reasons}")
    return Completed(message=f"{len(built)} of {len(builds)} partitions are built")
