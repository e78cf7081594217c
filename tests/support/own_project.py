"""A project of a test's own: `datasets.yaml` and models, with the dbt macros of this checkout."""

import shutil
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from quicksilver.build import dbt_project
from quicksilver.domain.datasets import Datasets, load_datasets
from tests.support.checkout import PROJECT


@contextmanager
def own_project(
    folder: Path, monkeypatch: pytest.MonkeyPatch, declared: str, models: Mapping[str, str]
) -> Generator[Datasets]:
    """Work in a project in `folder` whose `datasets.yaml` and models (by path) are these."""
    shutil.copytree(
        PROJECT / "analytics",
        folder / "analytics",
        ignore=shutil.ignore_patterns("target", "logs", "models", "seeds", "tests"),
    )
    (folder / "datasets.yaml").write_text(declared, encoding="utf-8")
    for name, text in models.items():
        path = folder / "analytics" / "models" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    monkeypatch.setenv("QUICKSILVER_PROJECT", str(folder))
    monkeypatch.setenv("QUICKSILVER_HOME", str(folder / "home"))
    _forget()
    try:
        yield load_datasets(folder / "datasets.yaml")
    finally:
        monkeypatch.undo()
        _forget()


def _forget() -> None:
    for cached in (dbt_project.seeds_version, dbt_project._version, dbt_project._parsed):  # pyright: ignore[reportPrivateUsage]
        cached.cache_clear()
