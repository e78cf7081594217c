"""Prefect's settings in a forked run: those of the run's environment, read anew only if need be."""

from __future__ import annotations

import os
from pathlib import Path

# Prefect reads its settings from the environment, from these in the working directory, and from
# the active profile.
_FILES = (".env", "prefect.toml", "pyproject.toml")

Variables = dict[str, str]


class PrefectConfiguration:
    """What Prefect's settings in this process were read from.

    Reading them again costs 30 ms and setting logging up 60 ms; usually a run's environment equals
    the server's, since the stack gives both the same.
    """

    def __init__(self) -> None:
        from prefect.settings import get_current_settings

        settings = get_current_settings()
        self._profiles = settings.profiles_path
        # A worker adds what it has from its profile to what it has from its environment.
        self._variables = _variables() | settings.to_environment_variables(exclude_unset=True)
        self._files = self._stamps()

    def adopt(self) -> bool:
        """Have Prefect use the present environment and working directory from here on.

        Returns:
            Whether the settings differ from before.
        """
        if _variables() == self._variables and self._stamps() == self._files:
            return False
        from prefect.context import refresh_global_settings_context
        from prefect.logging.configuration import setup_logging
        from prefect.settings import get_current_settings

        before = get_current_settings()
        refresh_global_settings_context()
        after = get_current_settings()
        # Besides the settings, any key of the logging configuration has its variable.
        changed = {name for name, _ in _variables().items() ^ self._variables.items()}
        if (before.logging, before.home) != (after.logging, after.home) or any(
            name.startswith("PREFECT_LOGGING_") for name in changed
        ):
            setup_logging(incremental=False)
        self._variables, self._files = _variables(), self._stamps()
        return True

    def _stamps(self) -> list[tuple[str, int, int]]:
        found: list[tuple[str, int, int]] = []
        for path in (*map(Path, _FILES), self._profiles):
            try:
                # A pyproject.toml without settings for Prefect counts as absent.
                if path.name == "pyproject.toml" and b"tool.prefect" not in path.read_bytes():
                    continue
                stat = path.stat()
            except OSError:
                continue
            found.append((str(path.resolve()), stat.st_mtime_ns, stat.st_size))
        return found


def _variables() -> Variables:
    """The environment's settings; two underscores mark variables that differ for every run."""
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith("PREFECT_") and not name.startswith("PREFECT__")
    }
