"""`quicksilver quarantine …`: what was authentic and could not be parsed."""

from typing import Annotated

import typer

from quicksilver.cli.client import delete, get, post
from quicksilver.cli.groups import InOrder
from quicksilver.cli.listing import Listing
from quicksilver.cli.shared import AsJson, console, print_json, reported
from quicksilver.cli.tables import when
from quicksilver.support.text import escape_control_characters

app = typer.Typer(
    cls=InOrder, help="List, show, replay or discard quarantined events.", no_args_is_help=True
)

RowId = Annotated[
    # Postgres' largest bigint.
    int, typer.Argument(help="The row's id, from `quarantine list`.", min=1, max=2**63 - 1)
]


@app.command("list")
@reported
def list_rows(
    limit: Annotated[int, typer.Option(min=1, max=1000, metavar="N")] = 100, as_json: AsJson = False
) -> None:
    """What is in quarantine, newest first."""

    rows = get("/api/quarantine", limit=limit)["quarantine"]
    if as_json:
        print_json(rows)
        return
    listing = Listing(
        *("id", "reason", "count", "size", "lane", "source", "first seen", "last seen"),
        right=("id", "count", "size"),
    )
    for row in rows:
        listing.add(
            *(str(row[name]) for name in ("id", "reason", "count", "size", "lane", "source")),
            when(row["first_seen"]),
            when(row["last_seen"]),
        )
    console.print(listing if rows else "quarantine is empty")


@app.command()
@reported
def show(row_id: RowId, as_json: AsJson = False) -> None:
    """One row with its raw body."""

    row = get(f"/api/quarantine/{row_id}")
    if as_json:
        print_json(row)
        return
    for name in ("reason", "count", "lane", "source", "first_seen", "last_seen", "size"):
        console.print(
            f"{name}: {escape_control_characters(row[name])}", markup=False, highlight=False
        )
    if row["meaning"]:
        console.print(row["meaning"], markup=False, highlight=False)
    # Escaped: a body may hold control sequences that would run in the terminal.
    console.print(escape_control_characters(row["body"]), markup=False, highlight=False)


@app.command()
@reported
def replay(row_id: RowId, as_json: AsJson = False) -> None:
    """Take the body again; parsed this time, it leaves the quarantine."""
    answer = post(f"/api/quarantine/{row_id}/replay")
    if as_json:
        print_json(answer)
    else:
        console.print(answer["outcome"], markup=False, highlight=False)


@app.command()
@reported
def discard(
    row_id: RowId,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Drop a row for good."""
    if not yes:
        typer.confirm(f"Delete the bytes of row {row_id} for good?", abort=True, err=True)
    answer = delete(f"/api/quarantine/{row_id}")
    if as_json:
        print_json(answer)
    else:
        console.print(f"discarded {row_id}")
