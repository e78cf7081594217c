"""Finds and ends what an earlier run of this home left behind, and nothing else."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import psutil

from quicksilver.stack.home import MARKER
from quicksilver.stack.state import load_credentials


def find_strays(folder: Path) -> list[psutil.Process]:
    """Processes with this home's mark in their environment, and its Postgres.

    They are found by the mark, never by name: another stack's processes are not touched.
    """
    credentials = load_credentials(folder)
    if credentials is None:
        return []
    ourselves = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            marked = process.environ().get(MARKER) == credentials.stack_id
            if marked and process.pid not in ourselves:
                found.append(process)
    if (postgres := _postmaster(folder)) and postgres not in found:
        found.append(postgres)
    return found


def _postmaster(folder: Path) -> psutil.Process | None:
    """Postgres writes its status over its environment, but it keeps a file about itself."""
    try:
        lines = (folder / "postgres" / "data" / "postmaster.pid").read_text().splitlines()
        process = psutil.Process(int(lines[0]))
        # The third line is its start in whole seconds.
        same = abs(process.create_time() - int(lines[2])) < 5
    except (OSError, ValueError, IndexError, psutil.Error):
        return None
    return process if same else None


def end_strays(folder: Path, *, patience: float = 8.0) -> int:
    """Ask each stray to end (Postgres by its fast shutdown), kill what stays; how many there were.

    `patience` is in seconds.
    """
    strays = find_strays(folder)
    postgres = _postmaster(folder)
    for process in strays:
        with contextlib.suppress(psutil.Error):
            process.send_signal(signal.SIGINT if process == postgres else signal.SIGTERM)
    _, alive = psutil.wait_procs(strays, timeout=patience)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=5)
    return len(strays)
