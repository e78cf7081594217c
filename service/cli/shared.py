"""What every command shares: the application, the ledger, and how errors reach a person."""

import functools
import getpass
import json
import sys
from calendar import monthrange
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from datetime import date
from importlib.metadata import version as installed_version
from typing import Annotated, Any, ParamSpec, TypeVar

import psycopg
import typer
from rich.console import Console

from quicksilver.cli.groups import InOrder
from quicksilver.domain.datasets import load_datasets
from quicksilver.errors import (
    UNAVAILABLE,
    LedgerUnavailableError,
    NotFoundError,
    QuicksilverError,
    ServiceUnavailableError,
    SettingsError,
)
from quicksilver.ledger import Ledger
from quicksilver.settings import Settings, load_settings
from quicksilver.support.postgres import Database
from quicksilver.support.text import escape_control_characters

P = ParamSpec("P")
R = TypeVar("R")

app = typer.Typer(
    name="quicksilver",
    cls=InOrder,
    help="Bronze lands, silver builds: MinIO events become Prefect runs, one per partition.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Brackets in a help text are not markup.
    rich_markup_mode="markdown",
    epilog="Exit codes: 0 done, 1 not done, 2 wrong usage or setting, 3 unknown name,"
    " 4 a part is away.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"quicksilver {installed_version('quicksilver')}")
        raise typer.Exit


@app.callback()
def _main(  # pyright: ignore[reportUnusedFunction]
    version: Annotated[  # noqa: ARG001
        bool,
        typer.Option(
            "--version",
            help="Print the version and end.",
            callback=_print_version,
            is_eager=True,
        ),
    ] = False,
) -> None:
    return


# If Postgres is away, a command ends after so many seconds.
_CONNECT_WITHIN = 2

# Into a file or a pipe nothing is folded: a program reads lines, and a search wants names whole.
_UNFOLDED = 100_000

console = Console(width=None if sys.stdout.isatty() else _UNFOLDED)
complaints = Console(stderr=True)


def complain(sentence: str) -> None:
    """A sentence to stderr, on one line; what it quotes after a last colon stays as it stands.

    Brackets in it are text, not style, and what would command a terminal is spelled out.
    """
    said, colon, quoted = sentence.partition(":\n")
    said = " ".join(line.strip() for line in said.splitlines())
    complaints.print(
        escape_control_characters(said + colon + quoted, keep="\n"),
        style="red",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def declared_names(incomplete: str) -> list[str]:
    """Datasets with this prefix, for the shell's completion; none if the file is wrong."""
    try:
        names = load_datasets(load_settings().datasets_file).by_name
    except QuicksilverError:
        return []
    return [name for name in names if name.startswith(incomplete)]


DatasetName = Annotated[
    str, typer.Argument(help="A dataset of datasets.yaml.", autocompletion=declared_names)
]
OnlyDataset = Annotated[
    str | None, typer.Option("--dataset", help="Only this dataset.", autocompletion=declared_names)
]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


def reported(command: Callable[P, R]) -> Callable[P, R]:
    """Errors made for people end the command with their sentence, and a code that says which kind:
    1 it could not be done, 2 wrong usage or setting, 3 an unknown name, 4 a part is away."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except SettingsError as error:
            complain(f"setting refused: {error}")
            raise typer.Exit(2) from None
        except QuicksilverError as error:
            complain(f"error: {error}")
            raise typer.Exit(_exit_code(error)) from None

    return run


def _exit_code(error: QuicksilverError) -> int:
    if isinstance(error, NotFoundError):
        return 3
    return 4 if isinstance(error, (*UNAVAILABLE, ServiceUnavailableError)) else 1


def actor() -> str:
    """The name of the command line's user, for the log of actions."""
    return f"cli:{getpass.getuser()}"


@asynccontextmanager
async def opened_ledger(settings: Settings) -> AsyncGenerator[Ledger]:
    """The ledger of the settings, open for a command."""
    settings.require("database_url")
    datasets = load_datasets(settings.datasets_file)
    url = settings.database_url.get_secret_value()
    # A pool waits for a Postgres that restarts; a command reports it at once.
    try:
        await (await psycopg.AsyncConnection.connect(url, connect_timeout=_CONNECT_WITHIN)).close()
    except psycopg.OperationalError as error:
        said = " ".join(str(error).split())
        raise LedgerUnavailableError(
            f"the ledger's Postgres cannot be reached: {said}. Start it, or correct"
            " QUICKSILVER_DATABASE_URL"
        ) from error
    database = Database(url, size=2, application="quicksilver-cli")
    await database.open()
    try:
        with refusals_told():
            yield Ledger(database, datasets)
    finally:
        await database.close()


@contextmanager
def refusals_told() -> Generator[None]:
    """Turn a refusal by a Postgres that was not set up into a sentence with what to do.

    Raises:
        QuicksilverError: the ledger lacks tables, or its role lacks rights.
    """
    try:
        yield
    except (
        psycopg.errors.UndefinedTable,
        psycopg.errors.UndefinedColumn,
        psycopg.errors.UndefinedFunction,
        psycopg.errors.InvalidSchemaName,
    ) as error:
        raise QuicksilverError(
            "the ledger has no schema yet, or an older one than this program:"
            f" run `quicksilver migrate` ({error.diag.message_primary})"
        ) from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise QuicksilverError(
            f"the ledger's role lacks rights ({error.diag.message_primary}): grant them, or name"
            " another role in QUICKSILVER_DATABASE_URL"
        ) from error


def print_json(value: Any) -> None:
    """JSON to stdout, uncoloured and unwrapped: it is for programs."""
    typer.echo(json.dumps(value, indent=2))


def parse_date(text: str) -> date:
    """YYYY-MM-DD, or YYYY-MM for its first day.

    Raises:
        typer.BadParameter: anything else.
    """
    try:
        return date.fromisoformat(text if text.count("-") > 1 else f"{text}-01")
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a date: write YYYY-MM-DD or YYYY-MM") from None


def parse_last(text: str) -> date:
    """YYYY-MM-DD, or YYYY-MM for its last day: the end of a range.

    Raises:
        typer.BadParameter: anything else.
    """
    first = parse_date(text)
    if text.count("-") > 1:
        return first
    return first.replace(day=monthrange(first.year, first.month)[1])
