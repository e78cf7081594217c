"""dbt invoked on a project: parsed once per version of its files, kept, and read from there."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quicksilver.errors import ModelError

# dbt itself is imported where it is called: that takes 1.6 s, and who deploys a flow only reads it.
if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest

_PARSED = "partial_parse.msgpack"
# Versions whose parse is kept: about a megabyte each.
_KEPT = 10


@dataclass(frozen=True, slots=True)
class DbtProject:
    """A dbt project, its profiles, and what else every invocation on it is told."""

    folder: Path
    profiles: Path
    more: Sequence[str] = ()

    def flags(self, target: Path) -> list[str]:
        """What every invocation is told: nothing is written or sent that nobody reads."""
        return [
            "--project-dir", str(self.folder),
            "--profiles-dir", str(self.profiles),
            "--target-path", str(target),
            "--log-path", str(target),
            "--log-level-file", "none",
            "--no-send-anonymous-usage-stats",
            "--no-version-check",
            "--no-use-colors",
            "--quiet",
            *self.more,
        ]  # fmt: skip

    def invoke(self, parsed: Manifest, command: Sequence[str]) -> list[Any]:
        """Run a command on the parsed project; how each node ended, failed ones among them.

        Raises:
            ModelError: dbt did not get as far as its nodes.
        """
        from dbt.cli.main import dbtRunner

        target = Path(tempfile.mkdtemp(prefix="quicksilver-dbt-"))
        try:
            outcome = dbtRunner(manifest=parsed).invoke([*command, *self.flags(target)])
        finally:
            shutil.rmtree(target, ignore_errors=True)
        if outcome.exception is not None:
            if not isinstance(outcome.exception, Exception):
                raise outcome.exception
            raise ModelError(f"dbt: {outcome.exception}") from outcome.exception
        result: Any = outcome.result
        return list(result.results)

    def kept_or_parsed(self, version: str, folders: Sequence[Path]) -> Manifest:
        """The project as one of the folders has its version, else parsed now and kept in the first
        that can be written.

        Raises:
            ModelError: the project does not parse; dbt's own words.
        """
        from dbt.cli.main import dbtRunner
        from dbt.contracts.graph.manifest import Manifest
        from dbt.parser.manifest import extended_mashumuro_decoder

        kept = _kept(version, folders)
        if kept is not None:
            parsed = Manifest.from_msgpack(kept, decoder=extended_mashumuro_decoder)
            # What the macros see as `graph`; dbt itself only makes it when it parses.
            parsed.build_flat_graph()
            return parsed
        folder = writable(folders)
        path = folder / version / _PARSED
        with tempfile.TemporaryDirectory(dir=folder) as target:
            outcome = dbtRunner().invoke(["parse", *self.flags(Path(target))])
            if not outcome.success or not isinstance(outcome.result, Manifest):
                raise ModelError(
                    f"the dbt project {self.folder} does not parse: {outcome.exception}"
                )
            path.parent.mkdir(exist_ok=True)
            # Whole or not at all: two processes that parse at once leave the same file twice.
            (Path(target) / _PARSED).replace(path)
        for old in sorted(folder.glob(f"*/{_PARSED}"), key=_age)[_KEPT:]:
            shutil.rmtree(old.parent, ignore_errors=True)
        return outcome.result


def _kept(version: str, folders: Sequence[Path]) -> bytes | None:
    for folder in folders:
        path = folder / version / _PARSED
        # Another process may prune it between a look and the reading.
        with suppress(FileNotFoundError, NotADirectoryError):
            found = path.read_bytes()
            # What is still read outlives a project that has a version for each partition.
            with suppress(OSError):
                os.utime(path)
            return found
    return None


def _age(path: Path) -> float:
    with suppress(FileNotFoundError):
        return -path.stat().st_mtime
    return 0.0


def writable(folders: Sequence[Path]) -> Path:
    """The first of the folders that can be written.

    Raises:
        OSError: none can.
    """
    for folder in folders[:-1]:
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK):
                return folder
    folders[-1].mkdir(parents=True, exist_ok=True)
    return folders[-1]
