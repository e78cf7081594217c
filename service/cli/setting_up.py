"""Commands that prepare what others run: pool, deployments, lanes, the ledger's schema."""

import asyncio
from typing import Annotated

import typer

from quicksilver.cli.groups import SET_UP
from quicksilver.cli.shared import AsJson, app, console, print_json, refusals_told, reported
from quicksilver.settings import load_settings


@app.command(rich_help_panel=SET_UP)
@reported
def init(
    queue_dir: Annotated[
        str,
        typer.Option(help="On MinIO's own disk: where undelivered events are kept [as it is]."),
    ] = "",
    receiver_url: Annotated[
        str, typer.Option(help="The service's address as MinIO reaches it [QUICKSILVER_URL].")
    ] = "",
    lanes: Annotated[
        bool,
        typer.Option(help="Set up MinIO too, when all else is: bucket, targets, rules."),
    ] = True,
    renew_lanes: Annotated[
        bool,
        typer.Option(
            "--renew-lanes", help="Set both targets again: MinIO shows nobody the tokens it has."
        ),
    ] = False,
    with_example: Annotated[
        bool, typer.Option("--example", help="Also the example automation.")
    ] = False,
    set_pool_command: Annotated[
        bool,
        typer.Option(
            "--set-pool-command",
            help="Also in a work pool that Quicksilver did not make: runs start in the warm"
            " engine.",
        ),
    ] = False,
    plan: Annotated[
        bool,
        typer.Option("--plan", help="Only print what would be done, and the commands to do it by."),
    ] = False,
) -> None:
    """Set up pool, blocks, deployments, automations, bucket, lanes; again, it changes nothing.

    MinIO takes the lanes only while the service answers: before its first start, all else is set up
    and the call ends with what to do.
    """
    from quicksilver.operators.setup import initialise

    if renew_lanes and not lanes:
        raise typer.BadParameter("--renew-lanes and --no-lanes: which one?")

    if plan:
        from quicksilver.operators.plan import plan as planned

        asyncio.run(
            planned(
                load_settings(),
                _say,
                queue_dir=queue_dir or None,
                receiver_url=receiver_url or None,
                lanes=lanes,
                set_pool_command=set_pool_command,
            )
        )
        return

    asyncio.run(
        initialise(
            load_settings(),
            _say,
            queue_dir=queue_dir or None,
            receiver_url=receiver_url or None,
            lanes=lanes,
            renew_lanes=renew_lanes,
            with_example=with_example,
            set_pool_command=set_pool_command,
        )
    )


@app.command(rich_help_panel=SET_UP)
@reported
def migrate(as_json: AsJson = False) -> None:
    """Bring the ledger's schema to the newest version."""
    from quicksilver.ledger.migrate import migrate as bring

    settings = load_settings()
    settings.require("database_url")
    with refusals_told():
        applied = asyncio.run(bring(settings.database_url.get_secret_value()))
    if as_json:
        print_json({"applied": applied})
        return
    _say("\n".join(f"applied {name}" for name in applied) or "the ledger is up to date")


def _say(line: str) -> None:
    console.print(line, highlight=False, markup=False)
