"""SQL statements by their names, from the `.sql` files that stand beside the modules that run them.

A file holds several statements, each under a line `-- name: <name>`; names are unique over all
files. A room registers its folder when it is imported.
"""

import re
from functools import cache
from pathlib import Path
from typing import LiteralString, cast

_HEADER = re.compile(r"^-- name: (\w+)$", re.MULTILINE)

_known: dict[str, tuple[str, Path]] = {}


@cache
def register(folder: Path) -> None:
    """Make every statement of a folder's `.sql` files known.

    Raises:
        ValueError: a name stands in two places.
    """
    for path in sorted(folder.glob("*.sql")):
        _, *parts = _HEADER.split(path.read_text(encoding="utf-8"))
        for name, text in zip(parts[::2], parts[1::2], strict=True):
            if name in _known:
                raise ValueError(f"statement {name} stands in {_known[name][1]} and in {path}")
            _known[name] = text.strip(), path


def statement(name: str) -> LiteralString:
    """The text of a registered statement.

    Raises:
        KeyError: no registered file has it.
    """
    return cast("LiteralString", _known[name][0])
