"""A project of one's own: found from the working directory upward, or named to children."""

import os
import subprocess
from pathlib import Path

import pytest

from quicksilver.engine import protocol
from quicksilver.errors import SettingsError
from quicksilver.settings import Settings, load_settings
from quicksilver.support.project import project_folder, shipped
from tests.support.checkout import PROJECT


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with declarations and settings of its own; the test stands below it."""
    folder = tmp_path / "shop"
    (folder / "deep" / "down").mkdir(parents=True)
    (folder / "datasets.yaml").write_text("datasets: {}\n")
    (folder / ".env").write_text("QUICKSILVER_HOME=state\nQUICKSILVER_PORT=1234\n")
    monkeypatch.setitem(Settings.model_config, "env_file", ".env")
    monkeypatch.chdir(folder / "deep" / "down")
    return folder


def test_it_is_found_from_the_working_directory_upward(project: Path) -> None:
    assert project_folder() == project
    settings = load_settings()
    assert settings.datasets_file == project / "datasets.yaml"
    assert settings.home == project / "state"
    assert settings.dbt_profiles_dir == project / "analytics"
    assert settings.port == 1234


def test_a_child_that_stands_elsewhere_is_told(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    monkeypatch.setenv("QUICKSILVER_PROJECT", str(project))
    monkeypatch.setenv("QUICKSILVER_TLS_CERT", "tls/cert.pem")
    settings = load_settings()
    assert settings.port == 1234, ".env is the project's"
    assert settings.home == project / "state"
    assert settings.tls_cert == project / "tls" / "cert.pem"


def test_a_shell_that_read_the_env_file_tells_its_children(project: Path) -> None:
    """`set -a; . ./.env`: what is relative in it is still the project's in a flow run's folder."""
    example = (PROJECT / ".env.example").read_text(encoding="utf-8")
    (project / ".env").write_text(example, encoding="utf-8")
    read = "set -a; . ./.env; cd /; exec env -0"
    shell = ["env", "-i", "/bin/sh", "-eu", "-c", read]
    done = subprocess.run(shell, cwd=project, capture_output=True, text=True, check=True)
    found = dict(line.split("=", 1) for line in done.stdout.split("\0") if line)
    assert found["QUICKSILVER_PROJECT"] == str(project)
    assert protocol.socket_path(found).startswith(str(project / ".quicksilver"))


def test_an_engine_is_found_from_anywhere(project: Path) -> None:
    environment = {"QUICKSILVER_PROJECT": str(project), "QUICKSILVER_HOME": "state"}
    assert protocol.socket_path(environment) == str(project / "state" / "run" / "engine.sock")


@pytest.mark.parametrize(
    ("named", "why"), [("shop", "is not absolute"), ("/nowhere/at/all", "there is no folder")]
)
def test_a_wrong_one_is_refused(monkeypatch: pytest.MonkeyPatch, named: str, why: str) -> None:
    monkeypatch.setenv("QUICKSILVER_PROJECT", named)
    with pytest.raises(SettingsError, match=rf"^QUICKSILVER_PROJECT: .*{why}"):
        load_settings()


def test_without_one_it_is_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert project_folder() == tmp_path


def test_what_is_shipped_is_found_in_the_checkout() -> None:
    assert shipped("analytics") == PROJECT / "analytics"
    assert os.listdir(shipped("flows"))  # noqa: PTH208  the folder is the package's own
