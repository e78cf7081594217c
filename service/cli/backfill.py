"""`quicksilver backfill`: a range of partitions, behind live events."""

import asyncio
from datetime import date
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from quicksilver.cli.shared import (
    DatasetName,
    actor,
    app,
    console,
    opened_ledger,
    parse_date,
    reported,
)
from quicksilver.errors import QuicksilverError
from quicksilver.lake.bronze import Bronze
from quicksilver.operators import backfill as work
from quicksilver.settings import load_settings
from quicksilver.support.postgres import Row


@app.command()
@reported
def backfill(
    dataset: DatasetName,
    first: Annotated[str, typer.Option("--from", help="YYYY-MM-DD or YYYY-MM.")],
    last: Annotated[str, typer.Option("--to", help="YYYY-MM-DD or YYYY-MM, included.")],
    newest_first: Annotated[bool, typer.Option("--newest-first", help="Newest first.")] = False,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Also what is built and unchanged.")
    ] = False,
    wait: Annotated[bool, typer.Option(help="Show progress until the last one is built.")] = True,
) -> None:
    """Bring what bronze holds in a range to silver; what is built already is skipped.

    Interrupted, it goes on by itself: the work is in the ledger. Live events go first.
    """
    asyncio.run(_run(dataset, parse_date(first), parse_date(last), newest_first, rebuild, wait))


async def _run(
    name: str, first: date, last: date, newest_first: bool, rebuild: bool, wait: bool
) -> None:
    settings = load_settings()
    async with opened_ledger(settings) as ledger:
        dataset = ledger.datasets.get(name)
        with console.status("listing bronze"):
            plan = await work.schedule(
                ledger,
                Bronze(settings),
                dataset,
                first,
                last,
                newest_first=newest_first,
                rebuild=rebuild,
            )
        await ledger.operators.log_action(actor(), "backfill", f"{name} from {first} to {last}")
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

            def show(built: int, failed: list[Row]) -> None:
                progress.update(bar, completed=built + len(failed))

            failed = await work.watch(ledger, dataset, plan, show)
    if failed:
        raise QuicksilverError(
            f"{len(failed)} of {len(plan.partitions)} partitions failed: "
            + "; ".join(
                f"{row['partition']}: {' '.join(str(row['error']).split())}" for row in failed[:5]
            )
        )
