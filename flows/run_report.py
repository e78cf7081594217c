"""What a build leaves in Prefect for people: a table beside its run."""

import re
from collections.abc import Mapping

from prefect import get_run_logger
from prefect.artifacts import acreate_markdown_artifact

from quicksilver.build.result import BuildOutcome, BuildResult
from quicksilver.domain.partition import Partition
from quicksilver.ledger import BegunBuild
from quicksilver.settings import Settings


def as_markdown(begun: BegunBuild, result: BuildResult, page: str) -> str:
    """Rows, reasons, timings and dbt's results of a build, as markdown."""
    lines = [
        f"# {begun.partition} generation {begun.generation}",
        "",
        f"[The partition's page]({page})",
        "",
        "| rows | |",
        "| --- | ---: |",
        f"| in bronze | {result.rows_bronze:,} |",
        f"| in silver | {result.rows_silver:,} |",
        f"| rejected | {result.rows_rejected:,} |",
    ]
    lines += [f"| rejected: {name} | {n:,} |" for name, n in result.rejected_by_reason.items()]
    lines += ["", "| step | seconds |", "| --- | ---: |"]
    lines += [f"| {name} | {seconds:.3f} |" for name, seconds in result.timings.items()]
    lines += ["", "| dbt | kind | status | seconds |", "| --- | --- | --- | ---: |"]
    lines += [f"| {n.name} | {n.kind} | {n.status} | {n.seconds:.3f} |" for n in result.dbt]
    if result.new_columns:
        lines += ["", f"New columns in bronze: {', '.join(result.new_columns)}."]
    lines += [f"\nWarning: {warning}" for warning in result.warnings]
    return "\n".join(lines)


def batch_as_markdown(settings: Settings, outcomes: Mapping[BegunBuild, BuildOutcome]) -> str:
    """A row a build of a run that several share, as markdown."""
    lines = [
        f"# {len(outcomes)} partitions in one run",
        "",
        "| partition | generation | in bronze | in silver | rejected | |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for build, outcome in outcomes.items():
        name = f"[{build.partition.name}]({_page(settings, build)}) | {build.generation}"
        if isinstance(outcome, BuildResult):
            rows = (outcome.rows_bronze, outcome.rows_silver, outcome.rows_rejected)
            said = " ".join(outcome.warnings)
            lines.append(f"| {name} | {' | '.join(f'{n:,}' for n in rows)} | {_cell(said)} |")
        else:
            lines.append(f"| {name} | | | | {_cell(str(outcome))} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _page(settings: Settings, begun: BegunBuild) -> str:
    return f"{settings.url}/partitions/{begun.partition.dataset}/{begun.partition.name}"


async def leave_report(settings: Settings, begun: BegunBuild, result: BuildResult) -> None:
    """Leave the table beside the run; silver stands already, so that no failure here matters."""
    await _leave(
        as_markdown(begun, result, _page(settings, begun)),
        begun.partition,
        f"{begun.partition} generation {begun.generation}",
    )


async def leave_batch_report(
    settings: Settings, outcomes: Mapping[BegunBuild, BuildOutcome]
) -> None:
    """As `leave_report`, for the builds that shared a run."""
    first = next(iter(outcomes)).partition
    await _leave(
        batch_as_markdown(settings, outcomes), first, f"{first} and {len(outcomes) - 1} more"
    )


def artifact_key(flow: str, partition: Partition) -> str:
    """An artifact's key: Prefect takes lower-case letters, digits and dashes."""
    return re.sub("[^a-z0-9]+", "-", f"{flow}-{partition}".lower()).strip("-")


async def _leave(markdown: str, first: Partition, description: str) -> None:
    try:
        await acreate_markdown_artifact(
            key=artifact_key("silver-build", first),
            markdown=markdown,
            description=description,
        )
    # Whatever went wrong, silver and the ledger stand; a failed run would contradict them.
    except Exception as error:
        get_run_logger().warning("the run's report could not be left: %s", error)
