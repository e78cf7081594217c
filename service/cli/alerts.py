"""`quicksilver alerts …`: open trouble, one line for each cause."""

from typing import Annotated, Any

import typer

from quicksilver.cli.client import get, post
from quicksilver.cli.groups import InOrder
from quicksilver.cli.listing import Listing
from quicksilver.cli.shared import AsJson, console, print_json, reported
from quicksilver.cli.tables import when

app = typer.Typer(
    cls=InOrder, help="List, silence or rebuild what is wrong, by cause.", no_args_is_help=True
)

AlertId = Annotated[int, typer.Argument(help="From `alerts list`.", min=1, max=2**63 - 1)]


@app.command("list")
@reported
def list_alerts(
    *,
    closed: Annotated[bool, typer.Option("--all", help="Also what is over.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 100,
    as_json: AsJson = False,
) -> None:
    """What is wrong now, newest first."""

    rows = get("/api/alerts", open=not closed, limit=limit)["alerts"]
    if as_json:
        print_json(rows)
    else:
        console.print(alerts_table(rows) if rows else "nothing needs you")


def alerts_table(rows: list[dict[str, Any]]) -> Listing:
    """Alerts, for people."""
    listing = Listing("id", "since", "what", "silent", right=("id",), free=("what", "silent"))
    for row in rows:
        over = f"resolved {when(row['cleared_at'], '%H:%M:%S')}: " if row["cleared_at"] else ""
        silent = ""
        if row["silenced_until"]:
            silent = (
                f"until {when(row['silenced_until'], '%Y-%m-%d %H:%M')} UTC by"
                f" {row['silenced_by']}: {row['silenced_for']}"
            )
        listing.add(str(row["id"]), when(row["raised_at"]), over + row["text"], silent)
    return listing


@app.command()
@reported
def silence(
    alert: AlertId,
    reason: Annotated[str, typer.Option(help="Why: the others read it.")],
    hours: Annotated[float, typer.Option("--hours", min=0.1, max=720, help="For how long.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Tell nobody of an alert for a while; it stays listed."""

    answer = post(f"/api/alerts/{alert}/silence", minutes=round(60 * hours), reason=reason)
    if as_json:
        print_json(answer)
    else:
        console.print(f"silent for {hours:g} h: {answer['subject']}", markup=False, highlight=False)


@app.command()
@reported
def rebuild(alert: AlertId, as_json: AsJson = False) -> None:
    """Build anew every partition that failed of an alert's cause."""

    answer = post(f"/api/alerts/{alert}/rebuild")
    if as_json:
        print_json(answer)
    else:
        console.print(f"{answer['partitions']} partitions will be built")
