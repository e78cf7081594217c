"""What of a dbt project decides how it parses: its files, wherever links lead to them."""

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

_ENV_VAR = re.compile(rb"""env_var\(\s*['"](\w+)['"]""")
# What dbt writes, and what holds no part of the project.
_LEFT_OUT = {"target", "logs", ".git", ".venv", "__pycache__", "node_modules"}


def project_files(folder: Path, names: Sequence[str] = (".",)) -> Iterator[Path]:
    """The files of a folder, or of some of its files and folders, in one order.

    Links to folders are followed, as dbt does; a link into a folder above itself only once.
    """
    for name in names:
        top = folder / name
        if top.is_file():
            yield top
        seen: set[str] = set()
        for root, folders, files in os.walk(top, followlinks=True):
            real = os.path.realpath(root)
            if real in seen:
                folders.clear()
                continue
            seen.add(real)
            folders[:] = sorted(set(folders) - _LEFT_OUT)
            yield from (Path(root, file) for file in sorted(files))


def digest_of(folder: Path, names: Sequence[str] = (".",), *more: str) -> str:
    """Names the content of `project_files`, of the environment variables that they read, and of
    whatever else is given as text."""
    digest = hashlib.sha256()
    variables: set[str] = set()
    parts: list[tuple[str, bytes]] = []
    for path in project_files(folder, names):
        content = path.read_bytes()
        variables.update(name.decode() for name in _ENV_VAR.findall(content))
        parts.append((path.relative_to(folder).as_posix(), hashlib.sha256(content).digest()))
    parts += [(name, os.environ.get(name, "").encode()) for name in sorted(variables)]
    parts += [("", text.encode()) for text in more]
    for name, content in parts:
        # Lengths, so that no two lists of files run into the same bytes.
        digest.update(f"{len(name)} {len(content)} {name}".encode() + content)
    return digest.hexdigest()[:16]
