"""Commands that read and steer the ledger, with the same words and numbers as the page."""

import time
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from quicksilver.cli.gates import gates_table
from quicksilver.cli.listing import Listing
from quicksilver.cli.proof import proof_tables, read_proof
from quicksilver.cli.shared import (
    AsJson,
    DatasetName,
    OnlyDataset,
    actor,
    app,
    console,
    named,
    print_json,
    reported,
    with_ledger,
)
from quicksilver.errors import LedgerUnavailableError, QuicksilverError
from quicksilver.lake.bronze import Bronze
from quicksilver.ledger import Ledger
from quicksilver.operators.explain import explain as explain_key
from quicksilver.operators.gates import look_at_gates
from quicksilver.operators.shapes import State, shown, shown_gate
from quicksilver.roles.sweep import Sweep, SweepResult
from quicksilver.settings import Settings
from quicksilver.support.text import escape_control_characters

# In the order of the page's tiles.
_COLOURS = {
    "failed": "red",
    "running": "blue",
    "pending": "yellow",
    "waiting": "cyan",
    "paused": "magenta",
    "built": "green",
}


@app.command()
@reported
def status(
    dataset: OnlyDataset = None,
    state: Annotated[State | None, typer.Option(help="Only partitions in this state.")] = None,
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
        rows = await ledger.views.partitions(dataset=dataset, state=state, limit=limit)
        counts = await ledger.views.state_counts()
        return {
            "partitions": [shown(row) for row in rows],
            "counts": [
                {"dataset": c["dataset"], "state": c["shown_state"], "partitions": c["partitions"]}
                for c in counts
                if dataset in (None, c["dataset"])
            ],
            "gates": [
                view
                for view in await look_at_gates(ledger)
                if dataset is None or dataset in view.found.gate.datasets
            ],
        }

    show = proof_tables if proof else _status
    if as_json:
        answer = with_ledger(work)
        if not proof:
            answer["gates"] = [shown_gate(view) for view in answer["gates"]]
        print_json(answer)
    elif watch:
        with Live(console=console, screen=False) as live:
            while True:
                try:
                    live.update(show(with_ledger(work)))
                except LedgerUnavailableError as error:
                    live.update(Text(f"{error}; asked again every second", "red"))
                time.sleep(1)
    else:
        console.print(show(with_ledger(work)))


def _status(answer: dict[str, Any]) -> RenderableType:
    partitions = status_table(answer)
    return Group(partitions, gates_table(answer["gates"])) if answer["gates"] else partitions


def status_table(answer: dict[str, Any]) -> Listing:
    """Partitions and how many are in which state, for people."""
    counts = ", ".join(f"{n} {state}" for state, n in _totals(answer["counts"]).items() if n)
    numbers = ("generation", "built", "silver", "rejected")
    listing = Listing(
        *("dataset", "partition", "state", *numbers, "why"),
        right=numbers,
        free=("why",),
        title=counts or "nothing landed yet",
    )
    for row in answer["partitions"]:
        listing.add(
            row["dataset"],
            row["partition"],
            Text(row["state"], _COLOURS[row["state"]]) + (", gone" if row["gone_at"] else ""),
            str(row["generation"]),
            str(row["built_generation"]),
            _number(row["rows_silver"]),
            _number(row["rows_rejected"]),
            row["error"] or row["wait_reason"] or "",
        )
    if len(listing.rows) < sum(count["partitions"] for count in answer["counts"]):
        listing.caption = (
            f"{len(listing.rows)} of them are shown: see --limit, --state and --dataset"
        )
    return listing


def _totals(counts: list[dict[str, Any]]) -> dict[str, int]:
    """Partitions by state, over all datasets."""
    return {
        state: sum(c["partitions"] for c in counts if c["state"] == state) for state in _COLOURS
    }


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


@app.command()
@reported
def events(
    dataset: OnlyDataset = None,
    reason: Annotated[str | None, typer.Option(help="Only this reason code, e.g. ignored.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
    as_json: AsJson = False,
) -> None:
    """The newest events, each with the reason why it did or did not fire."""

    async def work(_: Settings, ledger: Ledger) -> list[dict[str, Any]]:
        return await ledger.views.events(dataset=dataset, reason=reason, limit=limit)

    rows = with_ledger(work)
    if as_json:
        print_json(rows)
    else:
        console.print(events_table(rows))


def events_table(rows: list[dict[str, Any]]) -> Listing:
    """Events, for people; keys are foreign text."""
    listing = Listing(
        *("received", "event", "key", "generation", "reason", "copies", "lanes"),
        right=("generation", "copies"),
        below=("key", "event"),
        caption="" if rows else "no events",
    )
    for row in rows:
        lanes = [lane for lane in ("fast", "durable") if row[f"{lane}_at"]]
        listing.add(
            f"{row['received_at']:%Y-%m-%d %H:%M:%S}",
            row["event_name"],
            row["key"],
            str(row["generation"] or ""),
            row["reason"],
            str(row["deliveries"]),
            ", ".join(lanes) or row["source"],
        )
    return listing


@app.command()
@reported
def explain(
    key: Annotated[str, typer.Argument(help="An object's key, with or without s3://bucket/.")],
    as_json: AsJson = False,
) -> None:
    """Everything that happened to one object, and why it did or did not fire."""

    async def work(_: Settings, ledger: Ledger) -> dict[str, Any]:
        return await explain_key(ledger, key)

    answer = with_ledger(work)
    if as_json:
        print_json(answer)
        return
    console.print(escape_control_characters(answer["summary"]), markup=False, highlight=False)
    if answer["events"]:
        console.print(events_table(answer["events"]))
    if answer["builds"]:
        console.print(builds_table(answer["builds"]))


def builds_table(rows: list[dict[str, Any]]) -> Listing:
    """Builds of a partition, for people."""
    numbers = ("build", "generation", "attempt")
    listing = Listing(
        *(*numbers, "state", "finished", "run", "error"),
        right=numbers,
        free=("error",),
        title="Builds of its partition",
    )
    for row in rows:
        listing.add(
            str(row["id"]),
            str(row["generation"]),
            str(row["attempt"] or ""),
            row["state"],
            f"{row['finished_at']:%Y-%m-%d %H:%M:%S}" if row["finished_at"] else "",
            _run(row),
            row["error"] or "",
        )
    return listing


def _run(row: dict[str, Any]) -> str:
    shared = f" (shared by {row['run_builds']})" if row["run_builds"] > 1 else ""
    return f"{row['flow_run_id'] or 'none'}{shared}"


@app.command()
@reported
def rebuild(
    dataset: DatasetName,
    partition: Annotated[str, typer.Argument(help="A partition's name, such as 2024-05-01.")],
    as_json: AsJson = False,
) -> None:
    """Build a partition anew though nothing changed."""
    which = named(dataset, partition)

    async def work(_: Settings, ledger: Ledger) -> list[int]:
        ledger.datasets.get(dataset)
        raised = await ledger.recording.rebuild([which])
        if raised:
            await ledger.operators.log_action(actor(), "rebuild", str(which))
        return raised

    raised = with_ledger(work)
    if not raised:
        raise QuicksilverError(
            f"nothing of {which} ever landed: see `quicksilver status --dataset {dataset}`"
        )
    if as_json:
        print_json({"dataset": dataset, "partition": which.name, "generation": raised[0]})
    else:
        console.print(f"{which} will be built as generation {raised[0]}", highlight=False)


@app.command()
@reported
def reconcile(
    dataset: OnlyDataset = None,
    as_json: AsJson = False,
) -> None:
    """List bronze and compare it with the ledger; what differs is built."""

    async def work(settings: Settings, ledger: Ledger) -> list[SweepResult]:
        await ledger.upkeep.sync_datasets()
        sweep = Sweep(settings, ledger, Bronze(settings))
        with console.status("listing bronze"):
            results = await sweep.run_once([dataset] if dataset else None)
        await ledger.operators.log_action(actor(), "reconcile", dataset or "all datasets")
        return results

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
        await ledger.upkeep.sync_datasets()
        await ledger.operators.log_action(actor(), "pause", dataset)
        return await ledger.operators.pause(dataset, actor())

    console.print(f"{dataset}: " + ("paused" if with_ledger(work) else "was paused already"))


@app.command()
@reported
def resume(dataset: DatasetName) -> None:
    """Build again, beginning with what accumulated."""

    async def work(_: Settings, ledger: Ledger) -> bool:
        ledger.datasets.get(dataset)
        await ledger.operators.log_action(actor(), "resume", dataset)
        return await ledger.operators.resume(dataset)

    console.print(f"{dataset}: " + ("resumed" if with_ledger(work) else "was not paused"))
