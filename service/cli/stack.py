"""Commands that run things: the embedded stack, the service, and what they need to be set up."""

import asyncio
import gc
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer
import uvicorn
from pydantic import SecretStr

from quicksilver import stack
from quicksilver.cli.shared import RUN, app, console, refusals_told, reported
from quicksilver.errors import QuicksilverError, SettingsError
from quicksilver.settings import Settings, load_settings
from quicksilver.stack.initialise import initialise_again, initialise_child, initialise_store
from quicksilver.stack.worker import become_worker
from quicksilver.support.log import configure_logging

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


@app.command(rich_help_panel=RUN)
@reported
def up(
    own_services_only: Annotated[
        bool,
        typer.Option(
            "--own-services-only",
            help="The service with its ledger and the warm engine, beside a MinIO, a Prefect and"
            " workers of your own.",
        ),
    ] = False,
) -> None:
    """Run the embedded stack in the foreground, until Ctrl-C."""
    settings = load_settings()
    if own_services_only:
        _beside_ones_own(settings)
        return
    stack.up(
        settings,
        after_servers=[initialise_child],
        after_store=[initialise_store],
        on_ready=_ready,
        tend=initialise_again,
        say=_say,
    )


def _beside_ones_own(settings: Settings) -> None:
    settings.require("minio_access_key", "minio_secret_key")
    if "prefect_api_url" not in settings.model_fields_set:
        raise SettingsError(
            "PREFECT_API_URL is not set: name your Prefect's API in the project's .env, or start"
            " all parts with `quicksilver up`"
        )

    def ready(environment: Mapping[str, str]) -> None:
        # MinIO takes a webhook target only where the service answers.
        try:
            initialise_store(environment)
        except QuicksilverError as error:
            _say(f"{error}\n`quicksilver init --plan` prints what somebody else must do for you")
        _say(
            f"ready: {environment['QUICKSILVER_URL']} (operators)\n"
            "in another shell: quicksilver worker"
        )

    stack.up(
        settings,
        after_databases=[lambda environment: initialise_child(environment, "--no-lanes")],
        on_ready=ready,
        tend=initialise_again,
        beside=given_explicitly(settings),
        say=_say,
    )


def given_explicitly(settings: Settings) -> dict[str, str]:
    """What environment and `.env` say, by variable: the embedded stack's own values stand back.

    Tokens and the home stay the stack's own.
    """
    ours = {"home", "webhook_tokens", "operator_tokens"}
    found: dict[str, str] = {}
    for name in settings.model_fields_set - ours:
        value: Any = getattr(settings, name)
        if isinstance(value, SecretStr):
            value = value.get_secret_value()
        if isinstance(value, str | int | float | Path) and value != "":
            found[Settings.model_fields[name].alias or name] = str(value)
    return found


@app.command()
@reported
def worker(
    limit: Annotated[int, typer.Option(min=1, help="How many flow runs at once.")] = 8,
    name: Annotated[str, typer.Option(help="The worker's name.")] = "quicksilver",
) -> None:
    """Run a worker whose runs start fast (Prefect's, of type quicksilver), until Ctrl-C."""
    become_worker(load_settings(), name, limit)


def _say(line: str) -> None:
    console.print(line, highlight=False, markup=False)


def _ready(environment: Mapping[str, str]) -> None:
    _say(
        f"ready: {environment['QUICKSILVER_URL']} (operators), "
        f"{environment['PREFECT_API_URL'].removesuffix('/api')} (Prefect)\n"
        "Prefect's pages ask for PREFECT_API_AUTH_STRING, which `quicksilver env` prints\n"
        'in another shell: eval "$(quicksilver env)"'
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
        QuicksilverError: it cannot start; the message says what to fix.
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
