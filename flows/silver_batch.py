"""How the builds of a run end: each is reported by itself, in the ledger and to people."""

from collections.abc import Sequence
from typing import Any

from prefect import State, get_run_logger
from prefect.states import Completed

from quicksilver.build.batch import build_batch
from quicksilver.build.dbt import told
from quicksilver.build.result import BuildOutcome, BuildResult
from quicksilver.domain.datasets import Dataset
from quicksilver.errors import (
    DataTestError,
    FencedError,
    ManifestChangedError,
    QuicksilverError,
)
from quicksilver.flows.context import FlowContext
from quicksilver.flows.leases import build_leases, mark_published
from quicksilver.flows.run_report import leave_batch_report, leave_report
from quicksilver.flows.run_trace import trace_steps, traced
from quicksilver.ledger import BegunBuild
from quicksilver.support import failpoint

# Another build brings silver up to date: nothing is wrong with this one's partition.
_HANDED_ON = (ManifestChangedError, FencedError)


async def build_together(
    lake: FlowContext, dataset: Dataset, builds: Sequence[BegunBuild]
) -> State[Any]:
    """Build all of them; the run fails when any did, and what is published stands.

    Raises:
        QuicksilverError: of one build its own error; of several the message names each that
            failed, with its reason.
    """
    outcomes: dict[BegunBuild, BuildOutcome] = {}

    async def tell(build: BegunBuild, outcome: BuildOutcome) -> None:
        outcomes[build] = outcome
        await _tell(lake, build, outcome)

    async def waits(build: BegunBuild, why: str) -> None:
        # Shown beside the build while it runs; publishing removes it.
        await lake.ledger.runs.record_error(build.id, why)
        get_run_logger().warning("%s", why)

    async with build_leases(lake, builds), traced(lake.settings, builds[0], together=len(builds)):
        try:
            await build_batch(lake.settings, dataset, builds, tell, waits)
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
    if len(builds) > 1:
        await leave_batch_report(lake.settings, outcomes)
    elif built:
        await leave_report(lake.settings, builds[0], built[0])
    return _end(outcomes)


async def _tell(lake: FlowContext, build: BegunBuild, outcome: BuildOutcome) -> None:
    """Write a build's end to the ledger, as soon as it has ended, and to the run's log."""
    logger = get_run_logger()
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
        if outcome.dbt:
            logger.info("dbt:\n%s", told(outcome.dbt))
    elif isinstance(outcome, ManifestChangedError):
        await lake.ledger.runs.yield_build(build.id, str(outcome))
        logger.info("bronze changed meanwhile, the next build takes over: %s", outcome)
    elif isinstance(outcome, FencedError):
        # The session that took the fence has told the ledger.
        logger.warning("this build was given up meanwhile: %s", outcome)
    else:
        rows = outcome.rows if isinstance(outcome, DataTestError) else ()
        await lake.ledger.runs.record_error(
            build.id, str(outcome), is_final=outcome.is_final, rows=rows
        )
        notes = "\n".join(getattr(outcome, "__notes__", ()))
        logger.error("%s: %s%s", build.partition, outcome, f"\ndbt:\n{notes}" if notes else "")


def _end(outcomes: dict[BegunBuild, BuildOutcome]) -> State[Any]:
    """The run's end state.

    Raises:
        QuicksilverError: a build failed.
    """
    failed = {
        build: outcome
        for build, outcome in outcomes.items()
        if not isinstance(outcome, (BuildResult, *_HANDED_ON))
    }
    if len(outcomes) == 1:
        ((build, outcome),) = outcomes.items()
        match outcome:
            case BuildResult():
                message = f"{build.partition} generation {build.generation} is built"
                return Completed(message=message)
            case ManifestChangedError():
                return Completed(name="Superseded", message=str(outcome))
            case FencedError():
                return Completed(name="Fenced", message=str(outcome))
            case _:
                raise outcome
    if failed:
        reasons = "; ".join(f"{b.partition.name}: {why}" for b, why in failed.items())
        raise QuicksilverError(f"{len(failed)} of {len(outcomes)} partitions failed: {reasons}")
    built = sum(isinstance(outcome, BuildResult) for outcome in outcomes.values())
    return Completed(message=f"{built} of {len(outcomes)} partitions are built")
