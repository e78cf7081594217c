"""What the warm engine calls before it forks: everything a build would otherwise do first."""

import gc

from dbt.adapters.factory import reset_adapters

from quicksilver.build import dbt
from quicksilver.build.dbt_project import analytics


def preload() -> None:
    """Parse the dbt project, or read its cache, and compile it; leaves no connection or thread.

    A project without dbt models has nothing to parse.
    """
    if not (analytics() / "dbt_project.yml").is_file():
        return
    dbt.preload()
    # A run is one process, and makes an adapter of its own.
    reset_adapters()
    gc.collect()
