"""`quicksilver new`: makes a project from the templates that come with the package."""

import shutil
from enum import StrEnum
from pathlib import Path

from quicksilver.errors import QuicksilverError
from quicksilver.support.project import DECLARATIONS, PACKAGE, shipped


class Example(StrEnum):
    """What a project begins with: the folders of the templates."""

    PLAIN_FLOW = "plain-flow"
    PER_OBJECT = "per-object"
    OWN_DBT = "own-dbt"
    NYC_TLC = "nyc-tlc"


_TEMPLATES = PACKAGE / "templates"
# A packaged file may not begin with a dot.
_DOTTED = {"env": ".env", "env.example": ".env.example", "gitignore": ".gitignore"}
_SKIPPED = shutil.ignore_patterns("__pycache__", "target", "logs", "dbt_packages")


def new_project(folder: Path, example: Example) -> list[str]:
    """Make a project in a folder; what is there already is neither changed nor overwritten.

    Returns:
        What was written, relative to the folder.

    Raises:
        QuicksilverError: the folder is a project, or holds a file that the example brings.
    """
    brought = _brought(example)
    taken = [name for name in brought if (folder / name).exists()]
    if DECLARATIONS in taken:
        raise QuicksilverError(f"{folder} is a project already: it has {DECLARATIONS}")
    if taken:
        raise QuicksilverError(
            f"{folder} has {', '.join(taken)} already: choose an empty folder, or move"
            f" {'it' if len(taken) == 1 else 'them'} away"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, source in brought.items():
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=_SKIPPED)
            else:
                shutil.copyfile(source, folder / name)
        # It will hold credentials.
        (folder / ".env").chmod(0o600)
    except OSError as error:
        raise QuicksilverError(f"{folder} cannot be made a project: {error}") from error
    return sorted(brought)


def _brought(example: Example) -> dict[str, Path]:
    sources = [*(_TEMPLATES / "common").iterdir(), *(_TEMPLATES / example).iterdir()]
    found = {_DOTTED.get(source.name, source.name): source for source in sources}
    if example is Example.NYC_TLC:
        found["analytics"] = shipped("analytics")
    return found
