"""`quicksilver new`, and what `quicksilver check` says of what it made."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from quicksilver.cli.main import app
from quicksilver.operators.new_project import Example


def run(*arguments: str) -> tuple[int, str]:
    """The command's exit code and what it printed."""
    result = CliRunner().invoke(app, [*arguments])
    return result.exit_code, result.output


@pytest.fixture(params=list(Example), ids=str)
def project(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A new project of each kind; the test stands in it."""
    folder = tmp_path / "mine"
    code, said = run("new", str(folder), "--example", str(request.param))
    assert code == 0, said
    monkeypatch.chdir(folder)
    return folder


def test_a_new_project_fits_itself(project: Path) -> None:
    code, said = run("check", "--json")
    findings = json.loads(said)
    assert code == 0, said
    assert {finding["level"] for finding in findings} <= {"ok", "warning", "not checked"}
    places = [str(finding["where"]) for finding in findings]
    assert f"{project}/datasets.yaml" in places


def test_a_wrong_entrypoint_is_named_with_its_line(project: Path) -> None:
    path = project / "prefect.yaml"
    text = path.read_text(encoding="utf-8")
    assert text.count("entrypoint: ") >= 1
    path.write_text(text.replace("entrypoint: ", "entrypoint: nowhere", 1), encoding="utf-8")
    wrong = next(
        number
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if "nowhere" in line
    )
    code, said = run("check", "--json")
    errors = [each for each in json.loads(said) if each["level"] == "error"]
    assert code == 1
    assert errors[0]["where"] == f"{path}:{wrong - 1}"
    assert "nowhere" in errors[0]["what"]


def test_without_a_project_it_says_how_to_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, said = run("check")
    assert code == 1
    assert "quicksilver new" in said


def test_nothing_that_is_there_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "prefect.yaml").write_text("mine: true\n")
    code, said = run("new", str(tmp_path))
    assert code == 1
    assert "prefect.yaml" in said
    assert [path.name for path in tmp_path.iterdir()] == ["prefect.yaml"]


def test_what_the_flow_does_not_take_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("new", str(tmp_path / "mine"))[0] == 0
    monkeypatch.chdir(tmp_path / "mine")
    path = tmp_path / "mine" / "datasets.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("{day: ", "{date: "), encoding="utf-8")
    line = next(n for n, said in enumerate(text.splitlines(), 1) if "parameters:" in said)
    code, said = run("check", "--json")
    errors = [each for each in json.loads(said) if each["level"] == "error"]
    assert code == 1
    assert {each["where"] for each in errors} == {f"{path}:{line}"}
    words = " | ".join(each["what"] for each in errors)
    assert "load-sales/prod takes no date" in words
    assert "load-sales/prod also needs day" in words
