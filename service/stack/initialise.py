"""`quicksilver init` as a child of the stack that starts."""

import os
import subprocess
import sys
from collections.abc import Mapping

from quicksilver.errors import QuicksilverError
from quicksilver.support.project import PROJECT_VARIABLE, project_folder


def initialise_child(environment: Mapping[str, str]) -> None:
    """`quicksilver init` against a stack that starts, as a process of its own.

    Raises:
        QuicksilverError: it failed; the message carries what it printed.
    """
    folder = project_folder()
    done = subprocess.run(
        [sys.executable, "-m", "quicksilver.cli.main", "init"],
        env={**os.environ, **environment, PROJECT_VARIABLE: str(folder)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise QuicksilverError(f"`quicksilver init` failed:\n{done.stdout}{done.stderr}")
