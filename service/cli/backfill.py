"""`quicksilver backfill`: a range of partitions, behind live events."""

import asyncio
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from quicksilver.cli.client import Api, with_api
from quicksilver.cli.groups import ACT
from quicksilver.cli.shared import (
    AsJson,
    DatasetName,
    app,
    console,
    parse_date,
    parse_last,
    print_json,
    reported,
)
from quicksilver.errors import QuicksilverError
from quicksilver.settings import Settings

_LOOK = 0.5


@app.command(rich_help_panel=ACT)
@reported
def backfill(
    dataset: DatasetName,
    first: Annotated[
        str, typer.Option("--from", metavar="DAY", help="YYYY-MM-DD, or YYYY-MM for its first day.")
    ],
    last: Annotated[
        str,
        typer.Option("--to", metavar="DAY", help="YYYY-MM-DD, or YYYY-MM for its last; included."),
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
    span: dict[str, Any] = {
        "dataset": dataset,
        "first": parse_date(first),
        "to": parse_last(last),
    }

    async def work(_: Settings, api: Api) -> dict[str, Any]:
        with console.status("listing bronze"):
            plan = await api.post(
                "/api/backfills", **span, newest_first=newest_first, rebuild=rebuild
            )
        if as_json:
            print_json(plan)
            return {}
        console.print(
            f"{dataset}: {plan['partitions']} partitions in bronze, {plan['scheduled']} to build,"
            f" {plan['skipped']} built or on their way already",
            highlight=False,
        )
        return await _watch(api, dataset, span) if wait else {}

    seen = with_api(work)
    if seen and seen["failed"]:
        count = seen["partitions"]["failed"]
        raise QuicksilverError(
            f"{count} of {sum(seen['partitions'].values())} partitions failed: "
            + "; ".join(
                f"{row['partition']}: {' '.join(str(row['error']).split())}"
                for row in seen["failed"][:5]
            )
        )


async def _watch(api: Api, dataset: str, span: dict[str, Any]) -> dict[str, Any]:
    """Show how far it is until every partition of the range is built or failed."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("built", total=None)
        while True:
            seen = await api.get("/api/backfills", **span)
            states: dict[str, int] = seen["partitions"]
            paused = states.get("paused", 0)
            said = f"paused: {paused} wait for quicksilver resume {dataset}" if paused else "built"
            ended = states.get("built", 0) + states.get("failed", 0)
            total = sum(states.values())
            bar.update(task, total=total, completed=ended, description=said)
            if ended == total:
                return seen
            await asyncio.sleep(_LOOK)
