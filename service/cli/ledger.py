"""Commands that read and steer the ledger, with the same words and numbers as the page."""

import getpass
import time
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table

from service.api import shown, shown_gate
from service.bronze import Bronze
from service.cli.gates import gates_table
from service.cli.proof import proof_tables, read_proof
from service.cli.shared import (
    AsJson,
    app,
    console,
    parse_date,
    print_json,
    reported,
    with_ledger,
)
from service.errors import QuicksilverError
from service.gates import look_at_gates
from service.ledger import Ledger
from service.partition import Partition
from service.settings import Settings
from service.sweep import Sweep, SweepResult

DatasetName = Annotated[str, typer.Argument(help="A dataset of datasets.yaml.")]

_COLOURS = {
    "built": "green",
    "running": "blue",
    "pending": "yellow",
    "waiting": "cyan",
    "failed": "red",
    "paused": "magenta",
}


def actor() -> str:
    """Who is at the command line, for the log of actions."""
    return f"cli:{getpass.getuser()}"


@app.command()
@reported
def status(
    dataset: Annotated[str | None, typer.Option(help="Only this dataset.")] = None,
    state: Annotated[str | None, typer.Option(help="Only partitions in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    watch: Annotated[bool, typer.Option("--watch", help="Refresh until Ctrl-C.")] = False,
    proof: Annotated[
        bool, typer.Option("--proof", help="Bronze, ledger and silver compared, by name.")
    ] = False,
    last: Annotated[
        int, typer.Option(min=1, max=100_000, help="Events that --proof looks back on.")
    ] = 2000,
    as_json: AsJson = False,
) -> None:
    """Every partition's state, and how many are in which; or the proof that nothing was lost."""

    async def work(_: Settings, ledger: Ledger) -> dict[str, Any]:
        if proof:
            return await read_proof(ledger, dataset=dataset, last=last)
        rows = await ledger.partitions(dataset=dataset, state=state, limit=limit)
        counts = await ledger.state_counts()
        return {
            "partitions": [shown(row) for row in rows],
            "counts": [
                {"dataset": c["dataset"], "state": c["shown_state"], "partitions": c["partitions"]}
                for c in counts
                if dataset in (None, c["dataset"])
            ],
            "gates": [
                shown_gate(view)
                for view in await look_at_gates(ledger)
                if dataset is None or dataset in view.found.gate.datasets
            ],
        }

    show = proof_tables if proof else _status
    if as_json:
        print_json(with_ledger(work))
    elif watch:
        with Live(console=console, screen=False) as live:
            while True:
                live.update(show(with_ledger(work)))
                time.sleep(1)
    else:
        console.print(show(with_ledger(work)))


def _status(answer: dict[str, Any]) -> RenderableType:
    partitions = _status_table(answer)
    return Group(partitions, gates_table(answer["gates"])) if answer["gates"] else partitions


def _status_table(answer: dict[str, Any]) -> Table:
    counts = ", ".join(f"{c['partitions']} {c['state']}" for c in answer["counts"])
    table = Table(caption=counts or "nothing landed yet")
    for name in ("dataset", "dt", "state", "generation", "built", "silver", "rejected", "why"):
        table.add_column(name, overflow="fold")
    for row in answer["partitions"]:
        table.add_row(
            row["dataset"],
            row["dt"],
            f"[{_COLOURS[row['state']]}]{row['state']}[/]{', gone' if row['gone_at'] else ''}",
            str(row["generation"]),
            str(row["built_generation"]),
            _number(row["rows_silver"]),
            _number(row["rows_rejected"]),
            (row["error"] or row["wait_reason"] or "").replace("[", r"\["),
        )
    return table


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


@app.command()
@reported
def events(
    dataset: Annotated[str | None, typer.Option(help="Only this dataset.")] = None,
    reason: Annotated[str | None, typer.Option(help="Only this reason code, e.g. ignored.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
    as_json: AsJson = False,
) -> None:
    """The newest events, each with the reason why it did or did not fire."""

    async def work(_: Settings, ledger: Ledger) -> list[dict[str, Any]]:
        return await ledger.events(dataset=dataset, reason=reason, limit=limit)

    rows = with_ledger(work)
    if as_json:
        print_json(rows)
    else:
        console.print(_events_table(rows))


def _events_table(rows: list[dict[str, Any]]) -> Table:
    table = Table(caption="no events" if not rows else None)
    for name in ("received", "event", "key", "generation", "reason", "copies", "lanes"):
        table.add_column(name, overflow="fold")
    for row in rows:
        lanes = [lane for lane in ("fast", "durable") if row[f"{lane}_at"]]
        table.add_row(
            f"{row['received_at']:%Y-%m-%d %H:%M:%S}",
            row["event_name"],
            row["key"].replace("[", r"\["),
            str(row["generation"] or ""),
            row["reason"],
            str(row["deliveries"]),
            ", ".join(lanes) or row["source"],
        )
    return table


@app.command()
@reported
def explain(
    key: Annotated[str, typer.Argument(help="An object's key, with or without s3://bucket/.")],
    as_json: AsJson = False,
) -> None:
    """Everything that happened to one object, and why it did or did not fire."""

    async def work(_: Settings, ledger: Ledger) -> dict[str, Any]:
        return await ledger.explain(key)

    answer = with_ledger(work)
    if as_json:
        print_json(answer)
        return
    console.print(answer["summary"], markup=False, highlight=False)
    if answer["events"]:
        console.print(_events_table(answer["events"]))
    for build in answer["builds"]:
        console.print(
            f"build {build['id']}: generation {build['generation']}, attempt {build['attempt']},"
            f" {build['state']}, run {build['flow_run_id']} {build['error'] or ''}",
            markup=False,
            highlight=False,
        )


@app.command()
@reported
def rebuild(
    dataset: DatasetName,
    dt: Annotated[str, typer.Argument(help="YYYY-MM-DD, or YYYY-MM.")],
    as_json: AsJson = False,
) -> None:
    """Build a partition anew though nothing changed."""
    partition = Partition(dataset, parse_date(dt))

    async def work(_: Settings, ledger: Ledger) -> list[int]:
        ledger.datasets.get(dataset)
        raised = await ledger.rebuild([partition])
        if raised:
            await ledger.log_action(actor(), "rebuild", str(partition))
        return raised

    raised = with_ledger(work)
    if not raised:
        raise QuicksilverError(
            f"nothing of {partition} ever landed: see `quicksilver status --dataset {dataset}`"
        )
    if as_json:
        print_json({"dataset": dataset, "dt": partition.dt, "generation": raised[0]})
    else:
        console.print(f"{partition} will be built as generation {raised[0]}", highlight=False)


@app.command()
@reported
def reconcile(
    dataset: Annotated[str | None, typer.Option(help="Only this dataset.")] = None,
    as_json: AsJson = False,
) -> None:
    """List bronze and compare it with the ledger; what differs is built."""

    async def work(settings: Settings, ledger: Ledger) -> list[SweepResult]:
        await ledger.sync_datasets()
        sweep = Sweep(settings, ledger, Bronze(settings))
        with console.status("listing bronze"):
            return await sweep.run_once([dataset] if dataset else None)

    results = with_ledger(work)
    if as_json:
        print_json(
            [
                {"dataset": r.dataset, "listed": r.listed, "found": r.found, "gone": r.gone}
                for r in results
            ]
        )
        return
    for r in results:
        console.print(
            f"{r.dataset}: {r.listed} objects listed, {r.found} that no event told of,"
            f" {r.gone} partitions lost objects",
            highlight=False,
        )


@app.command()
@reported
def pause(dataset: DatasetName) -> None:
    """Stop building a dataset; its events go on accumulating."""

    async def work(_: Settings, ledger: Ledger) -> bool:
        ledger.datasets.get(dataset)
        await ledger.sync_datasets()
        await ledger.log_action(actor(), "pause", dataset)
        return await ledger.pause(dataset, actor())

    console.print(f"{dataset}: " + ("paused" if with_ledger(work) else "was paused already"))


@app.command()
@reported
def resume(dataset: DatasetName) -> None:
    """Build again, beginning with what accumulated."""

    async def work(_: Settings, ledger: Ledger) -> bool:
        ledger.datasets.get(dataset)
        await ledger.log_action(actor(), "resume", dataset)
        return await ledger.resume(dataset)

    console.print(f"{dataset}: " + ("resumed" if with_ledger(work) else "was not paused"))
