"""The command line over a running service, with its address and a token alone."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from quicksilver.cli.main import app
from quicksilver.stack.ports import choose_port
from tests.support.payloads import KEY, notification, record
from tests.support.servers import Postgres
from tests.support.serving import OPERATOR_TOKEN, Served, serving

DATASET, DT = "nyc_tlc.yellow_tripdata", "2024-01-01"


@pytest.fixture(scope="module")
def served(stack_postgres: Postgres, ledger_template: str) -> Iterator[Served]:
    """A service with a partition and a quarantined body."""
    url = stack_postgres.create_database("over_http", "ledger", ledger_template)
    with serving(url, viewer_tokens="a-viewers") as running:
        assert running.client.post(notification(record(KEY))).status == 200
        assert running.client.post(b"junk").status == 200
        yield running
    stack_postgres.drop_database("over_http")


class Shell:
    """Calls the command in a folder that holds no project, as somebody far from the service."""

    def __init__(self, port: int, token: str = OPERATOR_TOKEN) -> None:
        self.environment = {
            "QUICKSILVER_URL": f"http://127.0.0.1:{port}",
            "QUICKSILVER_OPERATOR_TOKENS": token,
        }

    def run(self, *arguments: str, code: int = 0) -> str:
        """What it prints, checked for its exit code; what it complains of, where that is not 0."""
        done = CliRunner().invoke(app, arguments, env=self.environment)
        assert done.exit_code == code, (arguments, done.output, done.exception)
        return done.stderr if code else done.stdout


@pytest.fixture
def shell(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith(("QUICKSILVER", "MINIO")):
            monkeypatch.delenv(name)
    return Shell(served.client.port)


def test_everything_is_read(shell: Shell) -> None:
    status = json.loads(shell.run("status", "--json"))
    (row,) = status["partitions"]
    assert (row["dataset"], row["partition"], row["detail"]) == (DATASET, DT, "next in turn")
    assert status["counts"] == [{"dataset": DATASET, "state": "pending", "partitions": 1}]
    assert shell.run("status", "--dt", "2024-01", "--from", "2024", code=2)
    for filters in (["--dt", "2024-01"], ["--from", "2024-01"], ["--after", f"{DATASET}/2023"]):
        assert DT in shell.run("status", *filters), filters
    assert DT not in shell.run("status", "--to", "2023-12")
    # The month is the partition of its first day.
    shown = shell.run("show", DATASET, "2024-01")
    assert shown.startswith(f"{DATASET}/{DT}: next in turn")
    assert KEY in shell.run("events")
    assert f"partition {DT} of {DATASET}" in shell.run("explain", f"s3://datasets/{KEY}")
    assert "not-json" in shell.run("quarantine", "list")
    assert "junk" in shell.run("quarantine", "show", "1")
    proof = json.loads(shell.run("status", "--proof", "--json"))
    assert proof["origins"][0]["missed_by_notifications"] == 0
    assert json.loads(shell.run("alerts", "list", "--json")) == []


def test_what_is_done_is_logged_as_the_tokens(served: Served, shell: Shell) -> None:
    assert "generation 2" in shell.run("rebuild", DATASET, "2024-01")
    assert "1 partitions" in shell.run("rebuild", DATASET, "--all-in", "2024-01", "--yes")
    assert "paused" in shell.run("pause", DATASET, "--reason", "a test")
    assert json.loads(shell.run("resume", DATASET, "--json"))["changed"]
    assert "quarantined: not-json" in shell.run("quarantine", "replay", "1")
    assert "discarded 1" in shell.run("quarantine", "discard", "1", "--yes")
    done = served.rows("select actor, action from quicksilver.action order by id")
    assert {row["actor"] for row in done} == {"token"}
    assert [row["action"] for row in done] == [
        *("rebuild", "rebuild", "pause", "resume", "replay", "discard"),
    ]


def test_each_kind_of_refusal_has_its_exit_code(served: Served, shell: Shell) -> None:
    for command in (
        ["show", DATASET, "1999-01"],
        ["show", "no.such", "1999-01"],
        ["status", "--dataset", "no.such"],
        ["rebuild", "no.such", "2024-01"],
        ["rebuild", DATASET, "--state", "running", "--yes"],
        ["pause", "no.such"],
        ["backfill", "no.such", "--from", "2024-01", "--to", "2024-01"],
        ["quarantine", "show", "77"],
        ["alerts", "silence", "77", "--reason", "a test"],
    ):
        assert shell.run(*command, code=3).startswith("error: "), command
    shell.run("rebuild", DATASET, code=2)
    # Its bronze is nowhere.
    shell.run("backfill", DATASET, "--from", "2024-01", "--to", "2024-01", code=4)
    wrong = Shell(served.client.port, "wrong")
    assert "QUICKSILVER_OPERATOR_TOKENS" in wrong.run("status", code=1)
    viewer = Shell(served.client.port, "a-viewers")
    assert DT in viewer.run("status")
    viewer.run("pause", DATASET, code=1)
    nobody = Shell(choose_port(None))
    assert "does not answer" in nobody.run("status", code=4)


def test_in_a_pipe_columns_are_plain(shell: Shell) -> None:
    lines = shell.run("status").splitlines()
    (head,) = [line for line in lines if line.startswith("dataset")]
    (row,) = [line for line in lines if line.startswith(DATASET)]
    assert row.index(DT) == head.index("partition")
    assert not set("│┃━─┏") & set("".join(lines))
