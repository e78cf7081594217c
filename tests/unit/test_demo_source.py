"""The demo's source is looked at before anything is started."""

from pathlib import Path

import pytest

from quicksilver.cli import demo
from quicksilver.cli.demo import choose_source
from quicksilver.cli.demo_stage import MONTHS
from quicksilver.errors import SettingsError
from quicksilver.flows.nyc_tlc import source as tlc_source
from quicksilver.flows.nyc_tlc.source import HttpSource, SourceUnavailableError, file_name
from quicksilver.settings import Settings, load_settings
from quicksilver.stack.ports import choose_port


@pytest.fixture
def year(tmp_path: Path) -> Path:
    """A folder with TLC's twelve file names."""
    folder = tmp_path / "months"
    folder.mkdir()
    for month in MONTHS:
        (folder / file_name(month)).touch()
    return folder


def chosen(tmp_path: Path) -> tuple[str, list[str]]:
    """Where the demo takes its months from, and what it says of that."""
    said: list[str] = []
    return choose_source(load_settings(), tmp_path / "home", said.append), said


def test_the_env_file_names_the_source(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, year: Path
) -> None:
    (tmp_path / ".env").write_text(f"TLC_SOURCE={year}\n")
    monkeypatch.setitem(Settings.model_config, "env_file", tmp_path / ".env")
    monkeypatch.setenv("TLC_SOURCE", "")
    assert chosen(tmp_path) == (str(year), [f"source: {year} (TLC_SOURCE)"])


def test_a_wrong_source_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, year: Path
) -> None:
    (year / file_name(MONTHS[2])).unlink()
    wrong = {
        str(tmp_path / "nowhere"): "there is no folder",
        str(tmp_path): "lacks 12 of the 12 months of 2019",
        str(year): r"lacks 1 of the 12 .*: yellow_tripdata_2019-03\.parquet$",
        f"http://user:s3cr3t@127.0.0.1:{choose_port(None)}/trips": "was not delivered",
        "ftp://example.org": "needs an http",
    }
    for where, reason in wrong.items():
        monkeypatch.setenv("TLC_SOURCE", where)
        with pytest.raises(SettingsError, match=f"^TLC_SOURCE: .*{reason}") as caught:
            chosen(tmp_path)
        assert "s3cr3t" not in str(caught.value)
        assert "\n" not in str(caught.value)


def test_without_tlcs_own_the_months_are_generated(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def away(*_: object) -> bool:
        raise SourceUnavailableError("no line")

    def written(folder: Path, year: int) -> None:
        (folder / str(year)).mkdir(parents=True)

    monkeypatch.delenv("TLC_SOURCE", raising=False)
    monkeypatch.setattr(HttpSource, "publishes", away)
    monkeypatch.setattr(demo, "write_generated_year", written)
    where, said = chosen(tmp_path)
    assert tlc_source.open_source(where) == tlc_source.FolderSource(Path(where))
    assert "GENERATED" in said[0]
