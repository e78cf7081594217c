"""`quicksilver status`: what is wrong first, then every partition's state."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from quicksilver.cli.alerts import alerts_table
from quicksilver.cli.client import Api, with_api
from quicksilver.cli.gates import gates_table
from quicksilver.cli.groups import LOOK
from quicksilver.cli.health import ask_parts, parts_lines
from quicksilver.cli.listing import Listing
from quicksilver.cli.proof import proof_tables
from quicksilver.cli.shared import (
    AsJson,
    OnlyDataset,
    app,
    console,
    parse_date,
    parse_last,
    print_json,
    reported,
)
from quicksilver.cli.tables import number
from quicksilver.domain.states import PartitionState
from quicksilver.errors import UNAVAILABLE, NotFoundError, ServiceUnavailableError
from quicksilver.operators.shapes.partitions import State
from quicksilver.settings import Settings

# Causes, not partitions: the page shows the rest.
_CAUSES = 20

# On a screen that is refreshed, causes leave room for the rows; lines around the rows.
_WATCHED = 5
_AROUND = 12

# In the order of the page's tiles.
COLOURS = {
    PartitionState.FAILED: "red",
    PartitionState.RUNNING: "blue",
    PartitionState.PENDING: "yellow",
    PartitionState.WAITING: "cyan",
    PartitionState.PAUSED: "magenta",
    PartitionState.BUILT: "green",
}


@app.command(rich_help_panel=LOOK)
@reported
def status(
    dataset: OnlyDataset = None,
    state: Annotated[State | None, typer.Option(help="Only partitions in this state.")] = None,
    dt: Annotated[
        str | None,
        typer.Option("--dt", help="A part of the partition's name or of a key, or a run's id."),
    ] = None,
    first: Annotated[
        str | None, typer.Option("--from", metavar="DAY", help="YYYY-MM-DD or YYYY-MM.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--to", metavar="DAY", help="The same; included.")
    ] = None,
    after: Annotated[
        str | None,
        typer.Option("--after", metavar="DATASET/PARTITION", help="Go on after it, by name."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, metavar="N", help="So many rows.")] = 50,
    watch: Annotated[bool, typer.Option("--watch", help="Refresh until Ctrl-C.")] = False,
    proof: Annotated[
        bool, typer.Option("--proof", help="Bronze, ledger and silver compared, by name.")
    ] = False,
    last: Annotated[
        int,
        typer.Option(min=1, max=100_000, metavar="N", help="Events that --proof looks back on."),
    ] = 2000,
    as_json: AsJson = False,
) -> None:
    """What is wrong first, then every partition's state; or the proof that nothing was lost."""
    asked: dict[str, Any] = {
        "state": state,
        "q": dt,
        "first": parse_date(first) if first else None,
        "to": parse_last(until) if until else None,
        "after": after,
        "order": "name" if after else "trouble",
        # A screen that is refreshed shows what fits on it, trouble before the rest.
        "limit": min(limit, max(5, console.height - _AROUND)) if watch else limit,
    }
    causes = _WATCHED if watch else _CAUSES

    async def work(settings: Settings, api: Api) -> dict[str, Any]:
        datasets = (await api.get("/api/datasets"))["datasets"]
        known = sorted(row["name"] for row in datasets)
        if dataset is not None and dataset not in known:
            raise NotFoundError(f"dataset {dataset} is not known: {', '.join(known)}")
        if proof:
            return await api.get("/api/proof", dataset=dataset, last=last)
        page = await api.get("/api/partitions", dataset=dataset, **asked)
        gates = (await api.get("/api/gates"))["gates"]
        return {
            "parts": await ask_parts(settings),
            **await api.get("/api/alerts", open=True, limit=causes),
            **page,
            "counts": [
                {"dataset": row["name"], "state": name, "partitions": count}
                for row in datasets
                if dataset in (None, row["name"])
                for name, count in row["partitions"].items()
            ],
            "gates": [gate for gate in gates if dataset in (None, *gate["datasets"])],
        }

    shown = proof_tables if proof else _status
    if as_json:
        print_json(with_api(work))
    elif watch:
        _watch(work, shown)
    else:
        console.print(shown(with_api(work)))


def _watch(
    work: Callable[[Settings, Api], Awaitable[dict[str, Any]]],
    show: Callable[[dict[str, Any]], RenderableType],
) -> None:
    with Live(console=console, screen=False) as live:

        async def look_again(settings: Settings, api: Api) -> None:
            while True:
                live.update(show(await work(settings, api)))
                await asyncio.sleep(1)

        while True:
            try:
                with_api(look_again)
            except (*UNAVAILABLE, ServiceUnavailableError) as error:
                live.update(Text(f"{error}; asked again every second", "red"))
                time.sleep(1)


def _status(answer: dict[str, Any]) -> RenderableType:
    shown: list[RenderableType] = [parts_lines(answer["parts"])]
    if answer["alerts"]:
        shown.append(alerts_table(answer["alerts"]))
    shown.append(status_table(answer))
    if answer["gates"]:
        shown.append(gates_table(answer["gates"]))
    return Group(*shown)


def status_table(answer: dict[str, Any]) -> Listing:
    """Partitions and how many are in which state, for people."""
    totals = {
        state: sum(c["partitions"] for c in answer["counts"] if c["state"] == state)
        for state in COLOURS
    }
    numbers = ("generation", "built", "silver", "rejected")
    listing = Listing(
        *("dataset", "partition", "state", *numbers, "why"),
        right=numbers,
        free=("why",),
        title=", ".join(f"{n} {state}" for state, n in totals.items() if n) or "nothing landed yet",
    )
    rows: list[dict[str, Any]] = answer["partitions"]
    for row in rows:
        listing.add(
            row["dataset"],
            row["partition"],
            Text(row["detail"], COLOURS[row["state"]]),
            str(row["generation"]),
            str(row["built_generation"]),
            number(row["rows_silver"]),
            number(row["rows_rejected"]),
            row["error"] or row["wait_reason"] or "",
        )
    if rows and len(rows) < (answer["found"] or sum(totals.values())):
        after = f" {answer['next']}" if answer["next"] else ""
        listing.caption = (
            f"{len(rows)} of them are shown: see --limit, --state, --dataset, --dt, --from, --to,"
            f" --after{after}"
        )
    return listing
