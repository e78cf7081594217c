"""Commands that run things: the embedded stack, the service, and what they need to be set up."""

import asyncio
import gc
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated

import typer
import uvicorn

from quicksilver import stack
from quicksilver.cli.shared import RUN, app, console, refusals_told, reported
from quicksilver.errors import QuicksilverError, SettingsError
from quicksilver.settings import Settings, load_settings
from quicksilver.stack.initialise import initialise_child
from quicksilver.support.log import configure_logging

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


@app.command(rich_help_panel=RUN)
@reported
def up() -> None:
    """Run the embedded stack in the foreground, until Ctrl-C."""
    stack.up(load_settings(), after_servers=[initialise_child], on_ready=_ready, say=_say)


def _say(line: str) -> None:
    console.print(line, highlight=False, markup=False)


def _ready(environment: Mapping[str, str]) -> None:
    _say(
        f"ready: {environment['QUICKSILVER_URL']} (operators), "
        f"{environment['PREFECT_API_URL'].removesuffix('/api')} (Prefect)\n"
        'in another shell: eval "$(.venv/bin/quicksilver env)"'
    )


@app.command(rich_help_panel=RUN)
@reported
def down() -> None:
    """Stop the embedded stack of this home."""
    stopped = stack.down(load_settings())
    _say("stopped" if stopped else "nothing runs in this home")


@app.command(rich_help_panel=RUN)
@reported
def demo() -> None:
    """Ingest twelve months, see each built, overwrite one: the main job, with its counts."""
    from quicksilver.cli.demo import run_demo

    run_demo(load_settings(), console)


@app.command(rich_help_panel=RUN)
@reported
def env() -> None:
    """Print `export NAME=value` lines that reach the running embedded stack."""
    typer.echo(stack.shell_lines(stack.environment(load_settings())))


@app.command(rich_help_panel=RUN)
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
) -> None:
    """Set up pool, blocks, deployments, automations, bucket, lanes; again, it changes nothing.

    MinIO takes the lanes only while the service answers: before its first start, all else is set up
    and the call ends with what to do.
    """
    from quicksilver.operators.setup import initialise

    if renew_lanes and not lanes:
        raise typer.BadParameter("--renew-lanes and --no-lanes: which one?")

    asyncio.run(
        initialise(
            load_settings(),
            _say,
            queue_dir=queue_dir or None,
            receiver_url=receiver_url or None,
            lanes=lanes,
            renew_lanes=renew_lanes,
            with_example=with_example,
        )
    )


@app.command(rich_help_panel=RUN)
@reported
def migrate() -> None:
    """Bring the ledger's schema to the newest version."""
    from quicksilver.ledger.migrate import migrate as bring

    settings = load_settings()
    settings.require("database_url")
    with refusals_told():
        applied = asyncio.run(bring(settings.database_url.get_secret_value()))
    _say("\n".join(f"applied {name}" for name in applied) or "the ledger is up to date")


@app.command(rich_help_panel=RUN)
@reported
def serve() -> None:
    """Run the service: receiver, dispatcher, settler and sweep."""
    settings = load_settings()
    refuse_open_doors(settings)
    configure_logging(settings.log_format)
    asyncio.run(serve_until_stopped(settings))


async def serve_until_stopped(settings: Settings) -> None:
    """The service in the foreground; SIGTERM and SIGINT end it in good order.

    Raises:
        QuicksilverError: it cannot start; the message says what to mend.
    """
    from quicksilver.app import create_app, running
    from quicksilver.web.server import server_config

    application = create_app(settings)
    server = uvicorn.Server(server_config(application, settings))
    async with running(application):
        keep_out_of_collections()
        # uvicorn's way to say that it cannot listen; told when all that ran beside it has ended.
        with suppress(SystemExit):
            await server.serve()
    if not server.started:
        raise QuicksilverError(
            f"the service cannot listen on {settings.host}:{settings.port}:"
            " is another one running? set QUICKSILVER_PORT"
        )


def keep_out_of_collections() -> None:
    """Have the garbage collector leave alone what the service is made of: looking through Prefect's
    modules stops every request for a tenth of a second, again and again."""
    gc.collect()
    gc.freeze()


def refuse_open_doors(settings: Settings) -> None:
    """Beyond loopback, operators need a token.

    Raises:
        SettingsError: none is configured.
    """
    if settings.host not in _LOOPBACK and not settings.operator_tokens:
        raise SettingsError(
            f"QUICKSILVER_HOST is {settings.host}, but QUICKSILVER_OPERATOR_TOKENS is empty:"
            " without a token the service binds to loopback only"
        )
