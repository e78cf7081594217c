"""`quicksilver backfill`: a range of partitions, behind live events."""

import asyncio
from datetime import date
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from quicksilver.cli.shared import (
    ACT,
    AsJson,
    DatasetName,
    actor,
    app,
    console,
    opened_ledger,
    parse_date,
    parse_last,
    print_json,
    reported,
)
from quicksilver.errors import QuicksilverError
from quicksilver.lake.bronze import Bronze
from quicksilver.operators import backfill as work
from quicksilver.operators.actions import Actions
from quicksilver.settings import load_settings
from quicksilver.support.postgres import Row


@app.command(rich_help_panel=ACT)
@reported
def backfill(
    dataset: DatasetName,
    first: Annotated[str, typer.Option("--from", help="YYYY-MM-DD or YYYY-MM.")],
    last: Annotated[
        str, typer.Option("--to", help="YYYY-MM-DD, or YYYY-MM for its last day; included.")
    ],
    newest_first: Annotated[bool, typer.Option("--newest-first", help="Newest first.")] = False,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Also what is built and unchanged.")
    ] = False,
    wait: Annotated[bool, typer.Option(help="Show progress until the last one is built.")] = True,
    as_json: AsJson = False,
) -> None:
    """Bring what bronze holds in a range to silver; what is built already is skipped.

    Interrupted, it goes on by itself: the work is in the ledger. Live events go first.
    """
    span = parse_date(first), parse_last(last)
    asyncio.run(_run(dataset, span, newest_first, rebuild, wait, as_json))


async def _run(
    name: str,
    span: tuple[date, date],
    newest_first: bool,
    rebuild: bool,
    wait: bool,
    as_json: bool,
) -> None:
    settings = load_settings()
    async with opened_ledger(settings) as ledger:
        with console.status("listing bronze"):
            plan = await Actions(ledger, actor()).backfill(
                Bronze(settings),
                name,
                *span,
                newest_first=newest_first,
                rebuild=rebuild,
            )
        if as_json:
            print_json(
                {
                    "dataset": name,
                    "partitions": len(plan.partitions),
                    "scheduled": plan.scheduled,
                    "skipped": plan.skipped,
                }
            )
            wait = False
        else:
            console.print(
                f"{name}: {len(plan.partitions)} partitions in bronze, {plan.scheduled} to build,"
                f" {plan.skipped} built or on their way already",
                highlight=False,
            )
        if not wait:
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console) as progress:
            bar = progress.add_task("built", total=len(plan.partitions))

            def show(built: int, failed: list[Row], paused: int) -> None:
                said = f"paused (quicksilver resume {name})" if paused else "built"
                progress.update(bar, completed=built + len(failed), description=said)

            failed = await work.watch(ledger, ledger.datasets.get(name), plan, show)
    if failed:
        raise QuicksilverError(
            f"{len(failed)} of {len(plan.partitions)} partitions failed: "
            + "; ".join(
                f"{row['partition']}: {' '.join(str(row['error']).split())}" for row in failed[:5]
            )
        )
