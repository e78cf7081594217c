"""The project: the folder of `datasets.yaml` that a command, the service or a flow run belongs to.

Nothing of a project is read from or written into the installed package: what comes with the
package (`shipped`) is copied into a project by `quicksilver new`.
"""

import os
from pathlib import Path

from quicksilver.errors import SettingsError

# Passed to every child process: flow runs work in temporary folders.
PROJECT_VARIABLE = "QUICKSILVER_PROJECT"
DECLARATIONS = "datasets.yaml"

PACKAGE = Path(__file__).resolve().parents[1]


def project_folder() -> Path:
    """QUICKSILVER_PROJECT, else the nearest folder upward that holds `datasets.yaml`, else the
    working directory; absolute.

    Raises:
        SettingsError: QUICKSILVER_PROJECT is not an absolute path of a folder.
    """
    if named := os.environ.get(PROJECT_VARIABLE):
        folder = Path(named).expanduser()
        if not folder.is_absolute():
            raise SettingsError(
                f"{PROJECT_VARIABLE}: {named} is not absolute: flow runs stand elsewhere, so name"
                " the whole path of the folder with datasets.yaml"
            )
        if not folder.is_dir():
            raise SettingsError(
                f"{PROJECT_VARIABLE}: there is no folder {named}: name the one with datasets.yaml,"
                " or unset it to have the project found from the working directory upward"
            )
        return folder.resolve()
    here = Path.cwd()
    return next((at for at in (here, *here.parents) if (at / DECLARATIONS).is_file()), here)


def in_project(path: Path) -> Path:
    """An absolute path; a relative one is taken from the project's folder.

    Raises:
        SettingsError: QUICKSILVER_PROJECT is not an absolute path of a folder.
    """
    path = path.expanduser()
    return path if path.is_absolute() else project_folder() / path


def shipped(name: str) -> Path:
    """A folder that comes with the package: inside it when installed, beside it in a checkout."""
    inside = PACKAGE / name
    return inside if inside.exists() else PACKAGE.parent / name
