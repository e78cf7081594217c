"""Commands on a ledger that is not as they need it, and what they leave in the log of actions."""

import getpass
import os
import subprocess
import sys
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from typer.testing import CliRunner

from quicksilver.cli import local
from quicksilver.cli.main import app
from quicksilver.settings import Settings
from tests.support.checkout import PROJECT
from tests.support.ledger_harness import FakeBronze
from tests.support.servers import Postgres

COMMANDS = [
    "status",
    "status --proof",
    "events",
    "explain s3://lake/key",
    "quarantine list",
    "quarantine show 1",
    "rebuild nyc_tlc.yellow_tripdata 2024-01",
    "pause nyc_tlc.yellow_tripdata",
    "resume nyc_tlc.yellow_tripdata",
]


@pytest.fixture
def bare_ledger(stack_postgres: Postgres) -> Iterator[str]:
    """A database of the ledger's role, without any table."""
    name = "ledger_without_tables"
    yield stack_postgres.create_database(name, "ledger")
    stack_postgres.drop_database(name)


def told(command: str, url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The one line that a refused command says."""
    monkeypatch.setenv("QUICKSILVER_DATABASE_URL", url)
    result = CliRunner().invoke(app, command.split())
    assert result.exit_code == 1, (command, result.output, result.exception)
    assert isinstance(result.exception, SystemExit), command
    (line,) = result.stderr.splitlines()
    return line


def test_a_ledger_without_tables_is_one_line(
    bare_ledger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for command in COMMANDS:
        assert "quicksilver migrate" in told(command, bare_ledger, monkeypatch), command


def test_a_role_without_rights_is_one_line(
    stack_postgres: Postgres, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = ledger_url.rpartition("/")[2]
    stranger = stack_postgres.url(database, "warehouse")
    with psycopg.connect(stack_postgres.admin_url, autocommit=True) as admin:
        statement = sql.SQL("grant connect on database {} to warehouse")
        admin.execute(statement.format(sql.Identifier(database)))
    for command in (*COMMANDS, "migrate"):
        line = told(command, stranger, monkeypatch)
        assert "permission denied" in line, command
        assert "grant it" in line or "QUICKSILVER_DATABASE_URL" in line, command


def whole_row(text: str, command: str, url: str) -> str:
    """The word with that text in what the command prints into a pipe."""
    done = subprocess.run(
        [sys.executable, "-m", "quicksilver.cli.main", command],
        env={**os.environ, "QUICKSILVER_DATABASE_URL": url, "COLUMNS": "80"},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    (row,) = [line for line in done.stdout.splitlines() if text in line]
    (word,) = [word for word in row.split() if text in word]
    return word


def test_who_reconciled_and_backfilled_is_logged_and_shown_whole(
    ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = FakeBronze()
    lake.put("bronze/nyc_tlc/yellow_tripdata/dt=2024-01-01/data.parquet", "v1")

    def bronze(_: Settings) -> FakeBronze:
        return lake

    monkeypatch.setattr(local, "Bronze", bronze)
    for name in ("MINIO_ACCESS_KEY", "MINIO_SECRET_KEY"):
        monkeypatch.setenv(name, "not-asked")
    monkeypatch.setenv("QUICKSILVER_DATABASE_URL", ledger_url)
    name = "nyc_tlc.yellow_tripdata"
    for command in (
        f"reconcile --dataset {name}",
        "reconcile",
        f"backfill {name} --from 2024-01 --to 2024-02 --no-wait",
    ):
        result = CliRunner().invoke(app, command.split())
        assert result.exit_code == 0, (command, result.output)
    with psycopg.connect(ledger_url) as connection:
        logged = connection.execute(
            "select actor, action, subject from quicksilver.action order by at"
        ).fetchall()
    assert whole_row("dt=2024-01-01", "events", ledger_url).endswith("data.parquet")
    who = f"cli:{getpass.getuser()}"
    assert logged == [
        (who, "reconcile", name),
        (who, "reconcile", "all datasets"),
        (who, "backfill", f"{name} from 2024-01-01 to 2024-02-29"),
    ]
