"""Detects that the code on disk is no longer the code in memory."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

WATCHED = (".py", ".sql", ".yml", ".yaml", ".csv")
# Written by every run, or never read by one.
SKIPPED = {"__pycache__", "target", "logs", "dbt_packages", "node_modules", "pages"}

Stamps = dict[str, tuple[int, int]]


class Sources:
    """All files under `whole`, those under `loaded` that this process imports, and the packages.

    Make it before the imports, so that what is written while they run counts as changed, and call
    `note_imports` after them. A file under `loaded` that is not imported need not be watched: a run
    that needs it reads it from disk. A check costs 1 ms for a project of this size.
    """

    def __init__(self, whole: Sequence[Path], loaded: Sequence[Path] = ()) -> None:
        self._folders = [str(folder) for folder in whole]
        # Installing or removing any package changes the folder that holds them all.
        self._files = {sysconfig.get_path("purelib")}
        self._seen = self._last = self._look()
        self._candidates = _walk_all(os.path.realpath(folder) for folder in loaded)

    def note_imports(self) -> None:
        """From here on, watch those files under `loaded` that have been imported by now."""
        files = [getattr(module, "__file__", None) for module in [*sys.modules.values()]]
        imported = {os.path.realpath(file) for file in files if file}
        found = {path: stamp for path, stamp in self._candidates.items() if path in imported}
        self._files.update(found)
        self._seen = self._last = self._seen | found

    def changed(self) -> bool:
        """Whether any file appeared, vanished or was written since this object was made."""
        return self._look() != self._seen

    def settled(self) -> bool:
        """Whether there is such a change and no further one since this was last asked."""
        before, self._last = self._last, self._look()
        return before == self._last != self._seen

    def _look(self) -> Stamps:
        stamps = _walk_all(self._folders)
        for path in self._files:
            try:
                stamps[path] = _stamp(os.stat(path))  # noqa: PTH116  (a thousand times a minute)
            except OSError:
                stamps[path] = (0, 0)
        return stamps


def _stamp(found: os.stat_result) -> tuple[int, int]:
    # The size tells apart two writes within one tick of a coarse clock.
    return found.st_mtime_ns, found.st_size


def _walk_all(folders: Iterable[str]) -> Stamps:
    return {path: stamp for folder in folders for path, stamp in _walk(folder)}


def _walk(folder: str) -> Iterator[tuple[str, tuple[int, int]]]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name in SKIPPED:
                    continue
                if entry.is_dir():
                    yield from _walk(entry.path)
                elif entry.name.endswith(WATCHED):
                    yield entry.path, _stamp(entry.stat())
    except OSError:
        return  # a folder that is missing, or vanishes meanwhile: its absence is the finding
