"""Commands that read the ledger, with the same words and numbers as the page."""

import time
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from quicksilver.cli.alerts import alerts_table
from quicksilver.cli.gates import gates_table
from quicksilver.cli.health import ask_parts, parts_lines
from quicksilver.cli.listing import Listing
from quicksilver.cli.proof import proof_tables, read_proof
from quicksilver.cli.shared import (
    LOOK,
    AsJson,
    DatasetName,
    OnlyDataset,
    app,
    console,
    named,
    parse_date,
    parse_last,
    print_json,
    reported,
    with_ledger,
)
from quicksilver.domain.partition import Partition
from quicksilver.errors import LedgerUnavailableError, NotFoundError
from quicksilver.ledger import Ledger
from quicksilver.operators.condition import condition
from quicksilver.operators.explain import explain as explain_key
from quicksilver.operators.gates import look_at_gates
from quicksilver.operators.shapes import State, shown, shown_gate
from quicksilver.settings import Settings
from quicksilver.support.text import escape_control_characters

# As many as the page compares.
_BUILDS = 30

# Causes, not partitions: more of them than that are read on the page.
_CAUSES = 20

# In the order of the page's tiles.
_COLOURS = {
    "failed": "red",
    "running": "blue",
    "pending": "yellow",
    "waiting": "cyan",
    "paused": "magenta",
    "built": "green",
}


@app.command(rich_help_panel=LOOK)
@reported
def status(
    dataset: OnlyDataset = None,
    state: Annotated[State | None, typer.Option(help="Only partitions in this state.")] = None,
    dt: Annotated[
        str | None, typer.Option("--dt", help="A part of the partition's name, or of a key.")
    ] = None,
    first: Annotated[str | None, typer.Option("--from", help="YYYY-MM-DD or YYYY-MM.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="The same; included.")] = None,
    after: Annotated[
        str | None, typer.Option("--after", help="DATASET/PARTITION: go on after it, by name.")
    ] = None,
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
    """What is wrong first, then every partition's state; or the proof that nothing was lost."""

    async def work(settings: Settings, ledger: Ledger) -> dict[str, Any]:
        if dataset is not None and dataset not in await known_names(ledger):
            raise NotFoundError(
                f"dataset {dataset} is not known: {', '.join(sorted(await known_names(ledger)))}"
            )
        if proof:
            return await read_proof(ledger, dataset=dataset, last=last)
        if after is not None:
            name, _, partition = after.partition("/")
            rows = await ledger.views.partitions(
                dataset=dataset, state=state, limit=limit, after=Partition(name, partition)
            )
        else:
            rows = await ledger.finding.partitions(
                dataset=dataset,
                states=[state] if state else None,
                first=parse_date(first) if first else None,
                last=parse_last(until) if until else None,
                text=dt,
                # A screen that is refreshed shows what fits on it, trouble before the rest.
                limit=min(limit, max(5, console.height - 12)) if watch else limit,
            )
        counts = await ledger.views.state_counts()
        return {
            "parts": await ask_parts(settings),
            "alerts": await ledger.notices.alerts(limit=_CAUSES),
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
    shown: list[RenderableType] = [parts_lines(answer["parts"])]
    if answer["alerts"]:
        shown.append(alerts_table(answer["alerts"]))
    shown.append(status_table(answer))
    if answer["gates"]:
        shown.append(gates_table(answer["gates"]))
    return Group(*shown)


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
            Text(row["detail"], _COLOURS[row["state"]]),
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


async def known_names(ledger: Ledger) -> set[str]:
    """Datasets that are declared, or of which anything ever landed."""
    rows = await ledger.views.dataset_rows()
    return {row["name"] for row in rows} | set(ledger.datasets.by_name)


def _totals(counts: list[dict[str, Any]]) -> dict[str, int]:
    """Partitions by state, over all datasets."""
    return {
        state: sum(c["partitions"] for c in counts if c["state"] == state) for state in _COLOURS
    }


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


@app.command(rich_help_panel=LOOK)
@reported
def show(
    dataset: DatasetName,
    partition: Annotated[str, typer.Argument(help="A partition's name, such as 2024-05-01.")],
    as_json: AsJson = False,
) -> None:
    """One partition: what is wrong, what readers see, what to do, and its builds."""
    which = named(dataset, partition)

    async def work(_: Settings, ledger: Ledger) -> dict[str, Any]:
        row = await ledger.views.partition(which)
        if row is None:
            raise NotFoundError(
                f"nothing of {which} ever landed: see `quicksilver status --dataset {dataset}`"
            )
        builds = await ledger.views.builds(which, limit=_BUILDS)
        return {"partition": shown(row), "said": condition(row), "builds": builds}

    answer = with_ledger(work)
    said = answer["said"]
    if as_json:
        print_json({"partition": answer["partition"], "builds": answer["builds"]})
        return
    console.print(f"{which}: ", Text(said.detail, _COLOURS[answer["partition"]["state"]]), sep="")
    for sentence in (said.happening, said.readers, said.todo):
        console.print(escape_control_characters(sentence), markup=False, highlight=False)
    if answer["builds"]:
        console.print(builds_table(answer["builds"]))
        for row in answer["builds"][0]["failed_rows"] or ():
            console.print(
                escape_control_characters(f"failed: {row}"), markup=False, highlight=False
            )


@app.command(rich_help_panel=LOOK)
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


@app.command(rich_help_panel=LOOK)
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
