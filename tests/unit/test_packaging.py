"""What the wheel is made of: pyproject.toml names every folder of the package."""

import tomllib
from pathlib import Path
from typing import Any

from tests.support.checkout import PROJECT

# Data whose folders are one package's: they are listed file by file, by pattern.
WHOLE = {"quicksilver.templates", "quicksilver.analytics"}


def declared() -> dict[str, Any]:
    """setuptools' table."""
    text = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)["tool"]["setuptools"]


def folders(top: Path, package: str) -> set[str]:
    """The packages that a folder's tree amounts to; caches are none."""
    found: set[str] = set()
    for path in [top, *top.rglob("*")]:
        name = ".".join((package, *path.relative_to(top).parts))
        is_data = any(name.startswith(f"{whole}.") for whole in WHOLE)
        if not path.is_dir() or "__pycache__" in path.parts or is_data:
            continue
        if name in WHOLE or any(each.is_file() for each in path.iterdir()):
            found.add(name)
    return found


def test_every_folder_is_named() -> None:
    wanted = folders(PROJECT / "service", "quicksilver")
    wanted |= folders(PROJECT / "flows", "quicksilver.flows") | {"quicksilver.analytics"}
    assert sorted(declared()["packages"]) == sorted(wanted)


def test_every_file_of_the_dbt_project_is_shipped() -> None:
    patterns: list[str] = declared()["package-data"]["quicksilver.analytics"]
    analytics = PROJECT / "analytics"
    shipped = {
        path
        for pattern in patterns
        for path in analytics.glob(pattern)
        if path.is_file() and path.name != "README.md"
    }
    written = {"target", "logs", "dbt_packages"}
    present = {
        path
        for path in analytics.rglob("*")
        if path.is_file() and not written & set(path.relative_to(analytics).parts)
    }
    # A page about it may stay behind.
    assert {path for path in present ^ shipped if path.name != "README.md"} == set()
