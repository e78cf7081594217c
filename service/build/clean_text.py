"""Text as Postgres takes it."""

from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

# pyarrow's compiled half carries no types, so a checker sees these as unknown.
ArrowArray: TypeAlias = Any
# Its functions are made at run time, where a checker does not see them.
_compute: Any = pc

_REPLACEMENT = "\ufffd"


def clean(values: ArrowArray, *, replace: bool, nul: bool = False) -> ArrowArray:
    """Strings or bytes as text: UTF-8 without NUL; with `replace`, U+FFFD where it is not.

    `nul`: a NUL may stay, for text that is escaped before it is sent.

    Raises:
        ValueError, pa.ArrowException: some are not, and none is to be replaced.
    """
    data = values.cast(pa.large_binary())
    if replace:
        try:
            return clean(values, replace=False)
        except (ValueError, pa.ArrowException):
            return pa.array([_replaced(value) for value in data.to_pylist()], pa.string())
    try:
        text = data.cast(pa.large_string())
    except pa.ArrowException:
        raise ValueError(
            "it is not valid UTF-8; `bad_text: replace` would put U+FFFD in its place"
        ) from None
    if not nul and _compute.any(_compute.match_substring(data, b"\0")).as_py():
        raise ValueError(
            "it holds a NUL, which Postgres' text cannot; `bad_text: replace` would put U+FFFD in"
            " its place"
        )
    return text.cast(pa.string())


def _replaced(value: bytes | None) -> str | None:
    if value is None:
        return None
    return value.decode("utf-8", "replace").replace("\0", _REPLACEMENT)
