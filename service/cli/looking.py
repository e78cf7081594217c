"""Commands that look at one thing closely, with the same words as its page."""

from typing import Annotated, Any

import typer
from rich.text import Text

from quicksilver.cli.client import Api, get, partition_path, with_api
from quicksilver.cli.groups import LOOK
from quicksilver.cli.shared import (
    AsJson,
    DatasetName,
    OnlyDataset,
    app,
    console,
    print_json,
    reported,
)
from quicksilver.cli.status import COLOURS
from quicksilver.cli.tables import builds_table, events_table
from quicksilver.settings import Settings
from quicksilver.support.text import escape_control_characters


@app.command(rich_help_panel=LOOK)
@reported
def show(
    dataset: DatasetName,
    partition: Annotated[str, typer.Argument(help="A partition's name, such as 2024-05-01.")],
    as_json: AsJson = False,
) -> None:
    """One partition: what is wrong, what readers see, what to do, and its builds."""

    async def work(_: Settings, api: Api) -> dict[str, Any]:
        found = await api.get(partition_path(dataset, partition))
        builds = await api.get(partition_path(dataset, found["partition"], "builds"))
        return {"partition": found, **builds}

    answer = with_api(work)
    if as_json:
        print_json(answer)
        return
    found = answer["partition"]
    console.print(
        f"{dataset}/{found['partition']}: ", Text(found["detail"], COLOURS[found["state"]]), sep=""
    )
    for sentence in (found["happening"], found["readers"], found["todo"]):
        _say(sentence)
    if answer["builds"]:
        console.print(builds_table(answer["builds"]))
        for row in answer["builds"][0]["failed_rows"] or ():
            _say(f"failed: {row}")


@app.command(rich_help_panel=LOOK)
@reported
def events(
    dataset: OnlyDataset = None,
    reason: Annotated[str | None, typer.Option(help="Only this reason code, e.g. ignored.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, metavar="N")] = 50,
    as_json: AsJson = False,
) -> None:
    """The newest events, each with the reason why it did or did not fire."""
    rows = get("/api/events", dataset=dataset, reason=reason, limit=limit)["events"]
    if as_json:
        print_json(rows)
    else:
        console.print(events_table(rows))


@app.command(rich_help_panel=LOOK)
@reported
def explain(
    key: Annotated[str, typer.Argument(help="An object's key, with or without s3://bucket/.")],
    as_json: AsJson = False,
) -> None:
    """Everything that happened to one object, and why it did or did not fire."""
    answer = get("/api/explain", key=key)
    if as_json:
        print_json(answer)
        return
    for sentence in (answer["summary"], *answer["facts"]):
        _say(sentence)
    if answer["events"]:
        console.print(events_table(answer["events"]))
    if answer["builds"]:
        console.print(builds_table(answer["builds"]))


def _say(sentence: str) -> None:
    console.print(escape_control_characters(sentence), markup=False, highlight=False)
