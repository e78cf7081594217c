"""Settings out of files, as Docker and Kubernetes hand over secrets; and a process's roles."""

from pathlib import Path

import pytest

from quicksilver.errors import SettingsError
from quicksilver.settings import ROLES, load_settings


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QUICKSILVER_SECRETS_DIR", str(tmp_path))
    return tmp_path


def test_a_file_gives_what_the_environment_does_not(
    secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (secrets / "QUICKSILVER_WEBHOOK_TOKENS").write_text("new,old\n")
    (secrets / "MINIO_SECRET_KEY").write_text("from the file\n")
    (secrets / "MINIO_ACCESS_KEY").write_text("from the file")
    monkeypatch.setenv("MINIO_ACCESS_KEY", "from the environment")
    settings = load_settings()
    assert [token.get_secret_value() for token in settings.webhook_tokens] == ["new", "old"]
    assert settings.minio_secret_key.get_secret_value() == "from the file"
    assert settings.minio_access_key == "from the environment"
    assert load_settings(minio_access_key="given").minio_access_key == "given"


def test_kubernetes_hands_them_over_as_links(secrets: Path) -> None:
    (secrets / "..data").mkdir()
    (secrets / "..data" / "MINIO_SECRET_KEY").write_text("linked")
    (secrets / "MINIO_SECRET_KEY").symlink_to(Path("..data") / "MINIO_SECRET_KEY")
    assert load_settings().minio_secret_key.get_secret_value() == "linked"


def test_a_wrong_secret_is_refused_without_being_shown(secrets: Path) -> None:
    (secrets / "QUICKSILVER_DATABASE_URL").write_text("mysql://hunter2")
    with pytest.raises(SettingsError, match="QUICKSILVER_DATABASE_URL") as refused:
        load_settings()
    assert "hunter2" not in str(refused.value)


def test_a_folder_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUICKSILVER_SECRETS_DIR", "/nowhere/at/all")
    with pytest.raises(SettingsError, match=r"QUICKSILVER_SECRETS_DIR: .* /nowhere/at/all"):
        load_settings()


def test_roles() -> None:
    assert load_settings().roles == ROLES
    assert load_settings(roles="receiver, sweep").roles == ("receiver", "sweep")
    for wrong in ("", "receiver,boss", ","):
        with pytest.raises(SettingsError, match="QUICKSILVER_ROLES"):
            load_settings(roles=wrong)
