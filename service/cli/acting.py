"""Commands that change what is built: the same actions as the page's and the API's."""

import asyncio
from typing import Annotated, Any

import typer

from quicksilver.cli.client import Api, get, partition_path, post, with_api
from quicksilver.cli.groups import ACT
from quicksilver.cli.shared import (
    AsJson,
    DatasetName,
    OnlyDataset,
    app,
    console,
    parse_date,
    parse_last,
    print_json,
    reported,
)
from quicksilver.errors import NotFoundError, ServiceUnavailableError
from quicksilver.operators.shapes.partitions import State
from quicksilver.settings import Settings

_LOOK = 0.3


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
        typer.Option(
            "--all-in", metavar="DAY", help="Instead of one: all of a month or day (YYYY-MM[-DD])."
        ),
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
    answer = post(partition_path(dataset, partition, "rebuild"))
    if as_json:
        print_json(answer)
    else:
        which = f"{answer['dataset']}/{answer['partition']}"
        console.print(
            f"{which} will be built as generation {answer['generation']}", highlight=False
        )


def _rebuild_many(
    dataset: str, state: State | None, all_in: str | None, *, yes: bool, as_json: bool
) -> None:
    asked = {
        "state": state,
        "first": parse_date(all_in) if all_in else None,
        "to": parse_last(all_in) if all_in else None,
    }
    if not yes:
        page = get("/api/partitions", dataset=dataset, order="trouble", limit=1, **asked)
        if not page["found"]:
            raise NotFoundError(f"no partition of {dataset} is like that: see `quicksilver status`")
        typer.confirm(f"Rebuild {page['found']:,} partitions of {dataset}?", abort=True, err=True)
    answer = post(f"/api/datasets/{dataset}/rebuild", **asked)
    if as_json:
        print_json({"dataset": dataset, **answer})
    else:
        left = f"; {answer['left']:,} more are left: ask again" if answer["left"] else ""
        console.print(
            f"{answer['partitions']:,} partitions of {dataset} will be built{left}", highlight=False
        )


@app.command(rich_help_panel=ACT)
@reported
def reconcile(
    dataset: OnlyDataset = None,
    as_json: AsJson = False,
) -> None:
    """List bronze and compare it with the ledger; what differs is built."""

    async def work(_: Settings, api: Api) -> dict[str, Any]:
        answer = await api.post("/api/reconcile", dataset=dataset)
        with console.status("listing bronze"):
            while answer["state"] == "running":
                await asyncio.sleep(_LOOK)
                answer = await api.get("/api/reconcile")
        if answer["state"] == "failed":
            raise ServiceUnavailableError(answer["error"])
        return answer

    answer = with_api(work)
    if as_json:
        print_json({name: answer[name] for name in ("datasets", "differing")})
        return
    for row in answer["datasets"]:
        console.print(row["sentence"], highlight=False, markup=False)
    for row in answer["differing"]:
        said = f"{row['dataset']}/{row['partition']} is built anew: {row['why']}"
        console.print(said, highlight=False, markup=False)


@app.command(rich_help_panel=ACT)
@reported
def pause(
    dataset: DatasetName,
    reason: Annotated[str, typer.Option(help="Why: shown as long as it is paused.")] = "",
    as_json: AsJson = False,
) -> None:
    """Stop building a dataset; its events go on accumulating."""
    answer = post(f"/api/datasets/{dataset}/pause", reason=reason)
    if as_json:
        print_json(answer)
    else:
        console.print(f"{dataset}: " + ("paused" if answer["changed"] else "was paused already"))


@app.command(rich_help_panel=ACT)
@reported
def resume(dataset: DatasetName, as_json: AsJson = False) -> None:
    """Build again, beginning with what accumulated."""
    answer = post(f"/api/datasets/{dataset}/resume")
    if as_json:
        print_json(answer)
    else:
        console.print(f"{dataset}: " + ("resumed" if answer["changed"] else "was not paused"))
