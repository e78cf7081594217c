"""What a build leaves in Prefect for people: a table beside its run."""

from prefect import get_run_logger
from prefect.artifacts import acreate_markdown_artifact

from flows.partition_build import BuildResult
from service.ledger import BegunBuild
from service.settings import Settings


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


async def leave_report(settings: Settings, begun: BegunBuild, result: BuildResult) -> None:
    """Leave the table beside the run; silver stands already, so that no failure here matters."""
    dt = begun.partition.dt.isoformat()
    page = f"{settings.url}/partitions/{begun.partition.dataset}/{dt}"
    try:
        await acreate_markdown_artifact(
            # Keys are lower-case letters, digits and dashes.
            key=f"silver-build-{dt}",
            markdown=as_markdown(begun, result, page),
            description=f"{begun.partition} generation {begun.generation}",
        )
    # Whatever went wrong: silver and the ledger stand, and a run that fails now would deny both.
    except Exception as error:
        get_run_logger().warning("the run's report could not be left: %s", error)
