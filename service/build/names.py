"""What a file's columns are called in bronze: distinct, and within what Postgres takes. Pure.

The same names in a file give the same names in bronze, whatever order they come in.
"""

import hashlib
from collections.abc import Collection

# Postgres cuts longer names in silence.
_NAME_BYTES = 63
# Columns that every table has already.
_SYSTEM = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})
# What a name of nothing but blanks becomes: quoted it would be legal, and nobody could see it.
_UNNAMED = "_unnamed"


def is_own(name: str, reserved: Collection[str]) -> bool:
    """Whether a column can keep the very name that the file gives it."""
    return (
        bool(name.strip())
        and "\0" not in name
        and len(name.encode()) <= _NAME_BYTES
        and name not in _SYSTEM
        and name not in reserved
    )


def plain_name(source: str, present: Collection[str]) -> str:
    """The name for a column that nothing stands in the way of.

    A name that is cut carries a hash of the whole, so that two long names stay apart. A table of
    0.2.0 knows it without: there it goes on under `present`'s name.
    """
    name = source.replace("\0", "_") if source.strip() else _UNNAMED
    if name == source and len(name.encode()) <= _NAME_BYTES:
        return name
    cut = _cut(name, _NAME_BYTES)
    if name == source and cut in present:
        return cut
    return hashed_name(name, source)


def typed_name(source: str, sql_type: str) -> str:
    """The name with the type behind it, for where the plain one is taken by another type."""
    suffix = "__" + sql_type.partition("(")[0].split()[0]
    name = source.replace("\0", "_") if source.strip() else _UNNAMED
    return _cut(name, _NAME_BYTES - len(suffix)) + suffix


def hashed_name(name: str, source: str) -> str:
    """The name with a hash of the source behind it, for where others are taken."""
    digest = hashlib.sha256(source.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{_cut(name, _NAME_BYTES - len(digest) - 1)}_{digest}"


def is_system(name: str) -> bool:
    """Whether every table has a column of that name."""
    return name in _SYSTEM


def _cut(name: str, limit: int) -> str:
    return name.encode()[:limit].decode(errors="ignore")
