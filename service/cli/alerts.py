"""`quicksilver alerts …`: what somebody must know of, one line for each cause."""

from datetime import timedelta
from typing import Annotated, Any

import typer

from quicksilver.cli.listing import Listing
from quicksilver.cli.shared import AsJson, actor, console, print_json, reported, with_ledger
from quicksilver.ledger import Ledger
from quicksilver.operators.actions import Actions
from quicksilver.settings import Settings

app = typer.Typer(help="List, silence or rebuild what is wrong, by cause.", no_args_is_help=True)

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

    async def work(_: Settings, ledger: Ledger) -> list[dict[str, Any]]:
        return await ledger.notices.alerts(is_open=not closed, limit=limit)

    rows = with_ledger(work)
    if as_json:
        print_json(rows)
    else:
        console.print(alerts_table(rows) if rows else "nothing needs you")


def alerts_table(rows: list[dict[str, Any]]) -> Listing:
    """Alerts, for people."""
    listing = Listing("id", "since", "what", "silent", right=("id",), free=("what", "silent"))
    for row in rows:
        over = f"resolved {row['cleared_at']:%H:%M:%S}: " if row["cleared_at"] else ""
        silent = ""
        if row["silenced_until"]:
            silent = (
                f"until {row['silenced_until']:%Y-%m-%d %H:%M} UTC by {row['silenced_by']}:"
                f" {row['silenced_for']}"
            )
        since = f"{row['raised_at']:%Y-%m-%d %H:%M:%S}"
        listing.add(str(row["id"]), since, over + row["text"], silent)
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

    async def work(_: Settings, ledger: Ledger) -> str:
        return await Actions(ledger, actor()).silence(alert, timedelta(hours=hours), reason)

    subject = with_ledger(work)
    if as_json:
        print_json({"id": alert, "subject": subject, "hours": hours})
    else:
        console.print(f"silent for {hours:g} h: {subject}", markup=False, highlight=False)


@app.command()
@reported
def rebuild(alert: AlertId, as_json: AsJson = False) -> None:
    """Build anew every partition that failed of an alert's cause."""

    async def work(_: Settings, ledger: Ledger) -> int:
        return await Actions(ledger, actor()).rebuild_cause(alert)

    count = with_ledger(work)
    if as_json:
        print_json({"partitions": count})
    else:
        console.print(f"{count} partitions will be built")
