"""Commands that change what is built: the same actions as the page's and the API's."""

from typing import Annotated

import typer

from quicksilver.cli.shared import (
    ACT,
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
from quicksilver.lake.bronze import Bronze
from quicksilver.ledger import Ledger
from quicksilver.operators.actions import Actions
from quicksilver.operators.shapes import compared
from quicksilver.roles.sweep import Sweep, SweepResult
from quicksilver.settings import Settings


@app.command(rich_help_panel=ACT)
@reported
def rebuild(
    dataset: DatasetName,
    partition: Annotated[str, typer.Argument(help="A partition's name, such as 2024-05-01.")],
    as_json: AsJson = False,
) -> None:
    """Build a partition anew though nothing changed."""
    which = named(dataset, partition)

    async def work(_: Settings, ledger: Ledger) -> int:
        return await Actions(ledger, actor()).rebuild(which)

    generation = with_ledger(work)
    if as_json:
        print_json({"dataset": dataset, "partition": which.name, "generation": generation})
    else:
        console.print(f"{which} will be built as generation {generation}", highlight=False)


@app.command(rich_help_panel=ACT)
@reported
def reconcile(
    dataset: OnlyDataset = None,
    as_json: AsJson = False,
) -> None:
    """List bronze and compare it with the ledger; what differs is built."""

    async def work(settings: Settings, ledger: Ledger) -> list[SweepResult]:
        sweep = Sweep(settings, ledger, Bronze(settings))
        with console.status("listing bronze"):
            return await Actions(ledger, actor()).reconcile(sweep, [dataset] if dataset else None)

    results = with_ledger(work)
    if as_json:
        print_json(compared(results))
        return
    for r in results:
        console.print(
            f"{r.dataset}: {r.listed} objects listed, {r.found} that no event told of,"
            f" {r.gone} partitions lost objects",
            highlight=False,
        )


@app.command(rich_help_panel=ACT)
@reported
def pause(
    dataset: DatasetName,
    reason: Annotated[str, typer.Option(help="Why: shown as long as it is paused.")] = "",
    as_json: AsJson = False,
) -> None:
    """Stop building a dataset; its events go on accumulating."""

    async def work(_: Settings, ledger: Ledger) -> bool:
        return await Actions(ledger, actor()).pause(dataset, reason)

    changed = with_ledger(work)
    if as_json:
        print_json({"dataset": dataset, "paused": True, "changed": changed})
    else:
        console.print(f"{dataset}: " + ("paused" if changed else "was paused already"))


@app.command(rich_help_panel=ACT)
@reported
def resume(dataset: DatasetName, as_json: AsJson = False) -> None:
    """Build again, beginning with what accumulated."""

    async def work(_: Settings, ledger: Ledger) -> bool:
        return await Actions(ledger, actor()).resume(dataset)

    changed = with_ledger(work)
    if as_json:
        print_json({"dataset": dataset, "paused": False, "changed": changed})
    else:
        console.print(f"{dataset}: " + ("resumed" if changed else "was not paused"))
