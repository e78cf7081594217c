"""Commands that run the embedded stack, and a worker."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import SecretStr

from quicksilver import stack
from quicksilver.cli.groups import RUN
from quicksilver.cli.shared import AsJson, app, console, print_json, reported
from quicksilver.errors import QuicksilverError, SettingsError
from quicksilver.settings import Settings, load_settings
from quicksilver.stack.initialise import initialise_again, initialise_child, initialise_store
from quicksilver.stack.worker import become_worker


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
            "log in with the token in QUICKSILVER_OPERATOR_TOKENS, which `quicksilver env` prints\n"
            f"logs: {environment['QUICKSILVER_HOME']}/logs\n"
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


@app.command(rich_help_panel=RUN)
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
        "log in with the token in QUICKSILVER_OPERATOR_TOKENS; Prefect's pages ask for"
        " PREFECT_API_AUTH_STRING: `quicksilver env` prints both\n"
        f"logs: {environment['QUICKSILVER_HOME']}/logs\n"
        'in another shell: eval "$(quicksilver env)"'
    )


@app.command(rich_help_panel=RUN)
@reported
def down(as_json: AsJson = False) -> None:
    """Stop the embedded stack of this home."""
    stopped = stack.down(load_settings())
    if as_json:
        print_json({"stopped": stopped})
        return
    _say("stopped" if stopped else "nothing runs in this home")


@app.command(rich_help_panel=RUN)
@reported
def demo() -> None:
    """Ingest twelve months, see each built, overwrite one: the main job, with its counts."""
    from quicksilver.cli.demo import run_demo

    run_demo(load_settings(), console)


@app.command(rich_help_panel=RUN)
@reported
def env(as_json: AsJson = False) -> None:
    """Print `export NAME=value` lines that reach the running embedded stack."""
    found = stack.environment(load_settings())
    if as_json:
        print_json(dict(found))
    else:
        typer.echo(stack.shell_lines(found))
