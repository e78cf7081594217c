"""Commands on a ledger that is not as they need it, and what they leave in the log of actions."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from typer.testing import CliRunner

from service.cli.main import app
from tests.conftest import Postgres

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
        assert "QUICKSILVER_DATABASE_URL" in line, command
        assert "permission denied" in line, command
