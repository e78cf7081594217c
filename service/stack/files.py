"""Private files and folders of the stack's home."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

from quicksilver.stack.errors import StackError


def open_private(path: Path) -> IO[bytes]:
    """An empty file that only its owner can read, open for writing."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with open_private(draft) as file:
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def private_folder(path: Path, mode: int = 0o700) -> Path:
    """Make a folder (with its parents) that only its owner can list.

    Raises:
        StackError: when it cannot be made, or belongs to another user.
    """
    try:
        path.mkdir(mode=mode, parents=True, exist_ok=True)
        if path.is_symlink() or path.stat().st_uid != os.geteuid():
            raise StackError(f"{path} belongs to somebody else: choose another QUICKSILVER_HOME")
        path.chmod(mode)
    except OSError as error:
        raise StackError(
            f"{path} cannot be made ({error.strerror}): set QUICKSILVER_HOME to a folder that"
            " you may write to"
        ) from error
    return path


def home_folder(path: Path) -> Path:
    """Make the stack's home.

    Root's may be entered, not listed: Postgres runs as another account and has its data in it.
    Every file and every other folder in it is private.

    Raises:
        StackError: when it cannot be made, or belongs to another user.
    """
    return private_folder(path, 0o711 if os.geteuid() == 0 else 0o700)


def last_lines(path: Path, count: int = 15) -> str:
    """The end of a log file, indented, for an error message; empty when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 16_384))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(f"  {line}" for line in text.rstrip().splitlines()[-count:])
