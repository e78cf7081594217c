"""What the warm engine calls before it forks: everything a build would otherwise do first."""

from flows import dbt_runner


def preload() -> None:
    """Parse the dbt project, or read its cache; opens no connection and starts no thread."""
    dbt_runner.preload()
