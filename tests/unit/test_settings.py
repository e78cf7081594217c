"""Settings: a wrong one is one clear line that names it, and never its value."""

import re
import subprocess
from pathlib import Path

import pytest
from dotenv import dotenv_values
from pydantic import SecretStr

from quicksilver.build import dbt_project
from quicksilver.errors import SettingsError
from quicksilver.settings import Settings, load_settings
from quicksilver.support.project import PROJECT_VARIABLE
from tests.support.checkout import PROJECT

EXAMPLE = PROJECT / ".env.example"
ALIASES = {field.alias: name for name, field in Settings.model_fields.items()}


def test_the_defaults_are_read() -> None:
    settings = load_settings()
    assert settings.body_limit == 1024 * 1024
    assert settings.webhook_tokens == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MINIO_ENDPOINT_URL", "s3cr3t.example:9000"),
        ("MINIO_ENDPOINT_URL", "http://"),
        ("MINIO_ENDPOINT_URL", "http://s3cr3t:99999"),
        ("MINIO_ENDPOINT_URL", "http://s3cr3t:port"),
        ("MINIO_ENDPOINT_URL", "http://[s3cr3t"),
        ("PREFECT_API_URL", "ftp://s3cr3t/api"),
        ("QUICKSILVER_URL", "s3cr3t"),
        ("QUICKSILVER_DATABASE_URL", "mysql://root:s3cr3t@db/x"),
        ("QUICKSILVER_DATABASE_URL", "postgresql://root:%zzs3cr3t@db/x"),
        ("QUICKSILVER_WAREHOUSE_URL", "postgresql://db/x?s3cr3t=1"),
        ("QUICKSILVER_WAREHOUSE_URL", "s3cr3t"),
        ("QUICKSILVER_PORT", "s3cr3t"),
        ("QUICKSILVER_PORT", "0"),
        ("QUICKSILVER_PORT", "65536"),
        ("QUICKSILVER_LOG_FORMAT", "s3cr3t"),
        ("QUICKSILVER_BODY_LIMIT", "12"),
        ("QUICKSILVER_BODY_LIMIT", "1e99"),
        ("QUICKSILVER_TICK", "0"),
        ("QUICKSILVER_TICK", "-1"),
        ("QUICKSILVER_TICK", "nan"),
        ("QUICKSILVER_TICK", "inf"),
        ("QUICKSILVER_BODY_SECONDS", "s3cr3t"),
        ("QUICKSILVER_MAX_RUNNING", "0"),
        ("QUICKSILVER_MAX_RUNNING", "2.5"),
        ("QUICKSILVER_RETENTION_DAYS", "a month"),
        ("QUICKSILVER_QUARANTINE_LIMIT", "-1"),
        ("QUICKSILVER_TRUSTED_PROXIES", "127.0.0.1,s3cr3t"),
        ("QUICKSILVER_TRUSTED_PROXIES", "*"),
        ("QUICKSILVER_WEBHOOK_TOKENS", "one,s3cr3t two"),
        ("QUICKSILVER_OPERATOR_TOKENS", "s3cr3t\ttwo"),
    ],
)
def test_a_wrong_setting_is_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    said = str(caught.value)
    assert said.startswith(f"{name}: ")
    assert "\n" not in said
    assert "s3cr3t" not in said
    assert caught.value.__cause__ is None, "a traceback would show the value"


def test_dbts_profiles_are_where_the_env_file_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "profiles.yml").write_text("quicksilver: {}\n")
    (tmp_path / ".env").write_text(f"DBT_PROFILES_DIR={tmp_path}\n")
    monkeypatch.setitem(Settings.model_config, "env_file", tmp_path / ".env")
    flags = dbt_project.dbt_project().flags(tmp_path / "target")
    assert flags[flags.index("--profiles-dir") + 1] == str(tmp_path)


def test_a_folder_without_dbts_profiles_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DBT_PROFILES_DIR", str(tmp_path))
    with pytest.raises(SettingsError, match=r"^DBT_PROFILES_DIR: /.* holds no profiles\.yml"):
        load_settings()


def test_tokens_are_several_and_rotate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUICKSILVER_WEBHOOK_TOKENS", " old , new,, ")
    tokens = load_settings().webhook_tokens
    assert [token.get_secret_value() for token in tokens] == ["old", "new"]


def test_an_empty_variable_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUICKSILVER_PORT", "")
    monkeypatch.setenv("QUICKSILVER_WEBHOOK_TOKENS", "")
    settings = load_settings()
    assert (settings.port, settings.webhook_tokens) == (8420, ())


def test_no_secret_in_what_is_printed() -> None:
    settings = load_settings(
        webhook_tokens="s3cr3t",
        operator_tokens="s3cr3t",
        minio_secret_key="s3cr3t",
        database_url="postgresql://ledger:s3cr3t@db/ledger",
        warehouse_url="postgresql://warehouse:s3cr3t@db/warehouse",
        dbt_pg_password="s3cr3t",
    )
    assert "s3cr3t" not in repr(settings) + str(settings) + settings.model_dump_json()


def test_what_is_required_is_named() -> None:
    with pytest.raises(SettingsError, match=r"^QUICKSILVER_DATABASE_URL is not set"):
        load_settings().require("database_url")
    with pytest.raises(SettingsError, match=r"^QUICKSILVER_WEBHOOK_TOKENS is not set"):
        load_settings().require("webhook_tokens")
    load_settings(webhook_tokens="t").require("webhook_tokens")


def example_lines() -> dict[str, tuple[str, str]]:
    """Of each variable in `.env.example`: its value, and the comment above it."""
    found: dict[str, tuple[str, str]] = {}
    comment = ""
    for line in EXAMPLE.read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            comment = line[2:]
            if match := re.fullmatch(r"([A-Z_]+)=.*", comment):
                # Of the environment alone; in the file it would have no effect.
                assert match[1] not in ALIASES
        elif match := re.fullmatch(r"([A-Z_]+)=(.*)", line):
            found[match[1]] = (match[2], comment)
            comment = ""
        else:
            assert not line, f"neither a setting nor its comment: {line}"
    return found


def test_the_example_lists_every_setting_with_a_word_on_it() -> None:
    found = example_lines()
    assert set(found) == {*ALIASES, PROJECT_VARIABLE}
    assert [name for name, (_, comment) in found.items() if not comment] == []


def test_the_example_lists_what_only_the_environment_says() -> None:
    asked = {"OTEL_EXPORTER_OTLP_ENDPOINT"}
    for path in [*PROJECT.glob("service/**/*.py"), *PROJECT.glob("flows/**/*.py")]:
        code = path.read_text(encoding="utf-8")
        found = re.findall(r"environ(?:\.get\(|\[)\"((?:QUICKSILVER|MINIO|DBT|TLC)_\w+)", code)
        asked.update(found)
        # Programs of the embedded stack, each with a variable that names another binary.
        asked.update(re.findall(r"^    variable=\"(\w+)\"", code, flags=re.MULTILINE))
    profile = (PROJECT / "analytics" / "profiles.yml").read_text(encoding="utf-8")
    asked.update(re.findall(r"env_var\('(DBT_\w+)'", profile))
    assert {"MINIO_BIN", "QUICKSILVER_SECRETS_DIR", "DBT_PG_HOST"} <= asked
    text = EXAMPLE.read_text(encoding="utf-8")
    named = re.findall(r"^(?:# )?([A-Z_]+)=", text, flags=re.MULTILINE)
    assert asked <= set(named)
    assert len(named) == len(set(named))


def test_the_example_holds_no_secret() -> None:
    for name, (value, _) in example_lines().items():
        if name == PROJECT_VARIABLE:
            continue
        annotation = str(Settings.model_fields[ALIASES[name]].annotation)
        if SecretStr.__name__ in annotation:
            assert value == "", name


def test_the_example_says_what_the_defaults_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(PROJECT)
    copied = Settings(_env_file=EXAMPLE)  # pyright: ignore[reportCallIssue]
    plain = Settings(_env_file=None)  # pyright: ignore[reportCallIssue]
    for name in Settings.model_fields:
        ours, default = getattr(copied, name), getattr(plain, name)
        if isinstance(default, Path):
            ours, default = ours.resolve(), default.resolve()
        assert ours == default, name


def test_a_shell_reads_the_example_as_the_service_does() -> None:
    """README's worker takes its environment from a copy of it."""
    read = "set -a; . ./.env.example; exec env -0"
    shell = ["env", "-i", "/bin/sh", "-eu", "-c", read]
    done = subprocess.run(shell, cwd=PROJECT, capture_output=True, text=True, check=True)
    found = dict(line.split("=", 1) for line in done.stdout.split("\0") if line)
    assert done.stderr == ""
    given = dotenv_values(EXAMPLE) | {PROJECT_VARIABLE: str(PROJECT)}
    assert len(given) > 40
    assert {name: found.get(name) for name in given} == given
