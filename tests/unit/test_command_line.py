"""The command line in a pipe and in a narrow terminal: lines for programs, and for people."""

import os
import socket
import subprocess
import sys
from io import StringIO
from pathlib import Path

import httpx
import pytest
from rich.console import Console
from typer.testing import CliRunner

from quicksilver.cli.listing import Listing
from quicksilver.cli.main import app
from quicksilver.cli.shared import complain
from quicksilver.stack.ports import choose_port
from tests.support.checkout import PROJECT

_NAME = "a_team_with_a_long_name.yellow_tripdata"
_KEY = "bronze/nyc_tlc/yellow_tripdata/dt=2024-01-01/part-00000.snappy.parquet"
_WHY = "column total_amount is text,\nwanted: a number, as it was in every month before this one"


def listing() -> Listing:
    """One row with all that is long."""
    made = Listing(
        "dataset", "dt", "built", "key", "why", right=("built",), free=("why",), title="[one] row"
    )
    made.add(_NAME, "2024-01-01", "1,234", _KEY, _WHY)
    return made


def shown(width: int, *, is_terminal: bool) -> list[str]:
    """The lines of the listing."""
    out = StringIO()
    console = Console(file=out, width=width, force_terminal=is_terminal, color_system=None)
    console.print(listing())
    return out.getvalue().splitlines()


def test_in_a_pipe_a_row_is_one_line() -> None:
    lines = shown(100_000, is_terminal=False)
    assert lines[0] == "[one] row"
    (row,) = [line for line in lines if _NAME in line]
    for cell in ("2024-01-01", "1,234", _KEY, _WHY.replace("\n", "; ")):
        assert cell in row


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_a_terminal_folds_no_name(width: int) -> None:
    lines = shown(width, is_terminal=True)
    assert max(map(len, lines)) <= width
    for cell in (_NAME, "2024-01-01", "1,234", _KEY):
        # Wider than the terminal itself, it can only be folded.
        if len(cell) < width - 2:
            assert any(cell in line for line in lines), lines
    said = " ".join(" ".join(lines).replace("│", " ").split())
    assert "as it was" in said


def test_what_goes_below_first_is_said() -> None:
    made = Listing("at", "event", "key", below=("event",))
    made.add("2024-01-01 12:00:00", "Put", "a" * 60)
    out = StringIO()
    Console(file=out, width=80, force_terminal=True, color_system=None).print(made)
    assert [line.rstrip() for line in out.getvalue().splitlines()] == [
        "at                  key",
        f"2024-01-01 12:00:00 {'a' * 60}",
        "  event: Put",
    ]


def test_a_line_break_in_a_name_is_spelled_out() -> None:
    made = Listing("key", "why", free=("why",))
    made.add("a\nb", "c\nd")
    out = StringIO()
    Console(file=out, width=80, force_terminal=True, color_system=None).print(made)
    assert "a\\x0ab" in out.getvalue()
    assert "c\\x0ad" not in out.getvalue()


def test_a_complaint_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    complain("error: " + "many words " * 40 + "[red]\x1b[2J\nand more; the log says:\nTraceback")
    sentence, log = capsys.readouterr().err.splitlines()
    assert sentence.startswith("error: many words")
    assert sentence.endswith("[red]\\x1b[2J and more; the log says:")
    assert log == "Traceback"


def quicksilver(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command as its user calls it, piped."""
    return subprocess.run(
        [Path(sys.executable).with_name("quicksilver"), *arguments],
        env={**os.environ, "COLUMNS": "80", **environment},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_refused_setting_is_one_line_of_stderr() -> None:
    done = quicksilver("status", QUICKSILVER_DATABASE_URL="postgresql://root:%zz@db/x")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("setting refused: QUICKSILVER_DATABASE_URL: ")
    assert line.endswith("percent-encoded")


@pytest.mark.parametrize("command", ["status", "events", "quarantine list"])
def test_a_limit_is_at_least_one(command: str) -> None:
    result = CliRunner().invoke(app, [*command.split(), "--limit", "-1"])
    assert result.exit_code == 2
    assert "--limit" in result.stderr


def test_a_service_that_is_away_is_exit_code_4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUICKSILVER_URL", f"http://127.0.0.1:{choose_port(None)}")
    done = CliRunner().invoke(app, ["quarantine", "replay", "1"])
    assert done.exit_code == 4, done.output
    assert "does not answer" in done.stderr


@pytest.mark.parametrize(("status", "code"), [(503, 4), (404, 3), (403, 1), (500, 1)])
def test_what_the_service_answers_is_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, status: int, code: int
) -> None:
    async def answer(*_: object, **__: object) -> httpx.Response:
        return httpx.Response(status, json={"detail": "because of that"})

    monkeypatch.setattr(httpx.AsyncClient, "request", answer)
    done = CliRunner().invoke(app, ["quarantine", "discard", "1", "--yes"])
    assert (done.exit_code, done.stderr) == (code, "error: because of that\n")


@pytest.mark.parametrize("is_silent", [False, True])
def test_a_postgres_that_is_away_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, is_silent: bool
) -> None:
    """Whether nobody listens, or somebody takes the connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1] if is_silent else choose_port(None)
        monkeypatch.setenv("QUICKSILVER_DATABASE_URL", f"postgresql://ledger@127.0.0.1:{port}/x")
        done = CliRunner().invoke(app, ["status"])
    assert done.exit_code == 4, done.output
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: the ledger's Postgres cannot be reached")
    assert line.endswith("correct QUICKSILVER_DATABASE_URL")
