"""`quicksilver quarantine …`: what was authentic and could not be parsed."""

from typing import Annotated, Any

import httpx
import typer

from quicksilver.cli.listing import Listing
from quicksilver.cli.shared import AsJson, console, print_json, reported, with_ledger
from quicksilver.domain.reasons import meaning_of
from quicksilver.errors import NotFoundError, QuicksilverError, ServiceUnavailableError
from quicksilver.ledger import Ledger
from quicksilver.settings import Settings, load_settings
from quicksilver.support.text import escape_control_characters

app = typer.Typer(help="List, show, replay or discard quarantined events.", no_args_is_help=True)

RowId = Annotated[
    # Postgres' largest bigint.
    int, typer.Argument(help="The row's id, from `quarantine list`.", min=1, max=2**63 - 1)
]

# What the service's answers are to who calls a command: its exit code tells them apart.
_REFUSALS: dict[int, type[QuicksilverError]] = {404: NotFoundError, 503: ServiceUnavailableError}


@app.command("list")
@reported
def list_rows(
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 100, as_json: AsJson = False
) -> None:
    """What is in quarantine, newest first."""

    async def work(_: Settings, ledger: Ledger) -> list[dict[str, Any]]:
        return await ledger.quarantine.list(limit=limit)

    rows = with_ledger(work)
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
            f"{row['first_seen']:%Y-%m-%d %H:%M:%S}",
            f"{row['last_seen']:%Y-%m-%d %H:%M:%S}",
        )
    console.print(listing if rows else "quarantine is empty")


@app.command()
@reported
def show(row_id: RowId, as_json: AsJson = False) -> None:
    """One row with its raw body."""

    async def work(_: Settings, ledger: Ledger) -> dict[str, Any] | None:
        return await ledger.quarantine.body(row_id)

    row = with_ledger(work)
    if row is None:
        raise NotFoundError(f"quarantine holds no row {row_id}: see `quicksilver quarantine list`")
    if as_json:
        print_json(row)
        return
    for name in ("reason", "count", "lane", "source", "first_seen", "last_seen", "size"):
        console.print(
            f"{name}: {escape_control_characters(row[name])}", markup=False, highlight=False
        )
    if meaning := meaning_of(row["reason"]):
        console.print(meaning, markup=False, highlight=False)
    # Escaped: a body may hold control sequences that would run in the terminal.
    console.print(repr(bytes(row["body"]))[2:-1], markup=False, highlight=False)


@app.command()
@reported
def replay(row_id: RowId, as_json: AsJson = False) -> None:
    """Take the body again, through the service; parsed this time, it leaves the quarantine."""
    answer = call_service("POST", f"/api/quarantine/{row_id}/replay")
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
    answer = call_service("DELETE", f"/api/quarantine/{row_id}")
    if as_json:
        print_json(answer)
    else:
        console.print(f"discarded {row_id}")


def call_service(method: str, path: str) -> dict[str, Any]:
    """Ask the running service, as an operator.

    Raises:
        ServiceUnavailableError: it does not answer, or says that a part of it is away.
        NotFoundError: it knows nothing of that name.
        QuicksilverError: it refused; the message is its own, as in the two above.
    """
    settings = load_settings()
    headers: dict[str, str] = {}
    if settings.operator_tokens:
        headers["Authorization"] = f"Bearer {settings.operator_tokens[0].get_secret_value()}"
    try:
        answer = httpx.request(method, settings.url + path, headers=headers, timeout=60)
    except httpx.HTTPError as error:
        raise ServiceUnavailableError(
            f"the service at {settings.url} does not answer ({error}):"
            " start it with `quicksilver serve`, or set QUICKSILVER_URL"
        ) from error
    if answer.is_error:
        detail = answer.json().get("detail") if "json" in answer.headers["content-type"] else None
        kind = _REFUSALS.get(answer.status_code, QuicksilverError)
        raise kind(f"{detail or answer.text or answer.status_code}")
    result: dict[str, Any] = answer.json()
    return result
