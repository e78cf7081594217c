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
    parse_date,
    parse_last,
    print_json,
    reported,
    with_ledger,
)
from quicksilver.domain.partition import Partition
from quicksilver.errors import NotFoundError
from quicksilver.lake.bronze import Bronze
from quicksilver.ledger import Ledger
from quicksilver.operators.actions import Actions
from quicksilver.operators.shapes import State, compared
from quicksilver.roles.silver_proof import SilverProof
from quicksilver.roles.sweep import Sweep, SweepResult
from quicksilver.settings import Settings
from quicksilver.warehouse.connection import Warehouse

# One bulk rebuild: what is left is asked for again.
_AT_ONCE = 10_000


@app.command(rich_help_panel=ACT)
@reported
def rebuild(
    dataset: DatasetName,
    partition: Annotated[
        str | None, typer.Argument(help="A partition's name, such as 2024-05-01.")
    ] = None,
    state: Annotated[
        State | None, typer.Option(help="Instead of one: all in this state, such as failed.")
    ] = None,
    all_in: Annotated[
        str | None,
        typer.Option("--all-in", help="Instead of one: all of a month or day (YYYY-MM[-DD])."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Build a partition anew though nothing changed; or many."""
    if (partition is None) == (state is None and all_in is None):
        raise typer.BadParameter("give one partition, or --state, --all-in, or both of these")
    if partition is None:
        _rebuild_many(dataset, state, all_in, yes=yes, as_json=as_json)
        return
    which = named(dataset, partition)

    async def work(_: Settings, ledger: Ledger) -> int:
        return await Actions(ledger, actor()).rebuild(which)

    generation = with_ledger(work)
    if as_json:
        print_json({"dataset": dataset, "partition": which.name, "generation": generation})
    else:
        console.print(f"{which} will be built as generation {generation}", highlight=False)


def _rebuild_many(
    dataset: str, state: State | None, all_in: str | None, *, yes: bool, as_json: bool
) -> None:
    async def find(_: Settings, ledger: Ledger) -> list[Partition]:
        rows = await ledger.finding.partitions(
            dataset=dataset,
            states=[state] if state else None,
            first=parse_date(all_in) if all_in else None,
            last=parse_last(all_in) if all_in else None,
            limit=_AT_ONCE,
        )
        return [Partition(row["dataset"], row["partition"]) for row in rows]

    async def work(_: Settings, ledger: Ledger) -> int:
        return await Actions(ledger, actor()).rebuild_many(found)

    found = with_ledger(find)
    if not found:
        raise NotFoundError(f"no partition of {dataset} is like that: see `quicksilver status`")
    if not yes:
        typer.confirm(f"Rebuild {len(found)} partitions of {dataset}?", abort=True, err=True)
    count = with_ledger(work)
    if as_json:
        print_json({"dataset": dataset, "partitions": count})
    else:
        console.print(f"{count} partitions of {dataset} will be built", highlight=False)


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
            results = await Actions(ledger, actor()).reconcile(
                sweep, [dataset] if dataset else None
            )
        if settings.warehouse_url.get_secret_value():
            with console.status("comparing silver"):
                differing.update(await SilverProof(ledger, Warehouse(settings)).run_once())
        return results

    differing: dict[Partition, str] = {}
    results = with_ledger(work)
    if as_json:
        print_json(compared(results))
        return
    for r in results:
        console.print(r.sentence, highlight=False, markup=False)
    for partition, why in sorted(differing.items()):
        console.print(f"{partition} is built anew: {why}", highlight=False, markup=False)


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
