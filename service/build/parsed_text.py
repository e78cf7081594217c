"""Values that text files write out, as CSV does."""

import base64
import re
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from quicksilver.build import json_text
from quicksilver.build.clean_text import clean
from quicksilver.build.columns import Kind

# pyarrow's compiled half carries no types, so a checker sees these as unknown.
ArrowArray: TypeAlias = Any
ArrowType: TypeAlias = Any
# Its functions are made at run time, where a checker does not see them.
_compute: Any = pc

_UUID = re.compile(r"[0-9a-f]{8}(-?)[0-9a-f]{4}(\1[0-9a-f]{4}){2}\1[0-9a-f]{12}", re.ASCII | re.I)
_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d)(?:\.(\d{1,9}))?)?", re.ASCII)
# Digits behind the sixth of a second's fraction: what Postgres cannot hold, and may be cut.
_FINER = r"(\.\d{6})\d{1,3}"
_LONG_INTEGER = r"^[+-]?[0-9]{16,}$"
# pandas writes the integers of a column with gaps as 1.0.
_INTEGER = r"^\+?(-?[0-9]+)(?:\.0*)?$"


def parse(values: ArrowArray, target: ArrowType, kind: Kind, *, replace: bool) -> ArrowArray:
    """Values that a text file writes out, strictly; an empty one is null, but for text.

    Raises:
        ValueError, pa.ArrowException: one is not written as its kind is.
    """
    text = clean(values, replace=replace)
    if kind is Kind.TEXT:
        return text
    text = _compute.if_else(_compute.equal(text, ""), pa.scalar(None, pa.string()), text)
    match kind:
        case Kind.TIMESTAMP | Kind.TIMESTAMPTZ:
            return _compute.replace_substring_regex(text, _FINER, r"\1").cast(target)
        case Kind.TIME:
            return pa.array([_time(value) for value in text.to_pylist()], target)
        case Kind.NUMBER:
            return _numbers(text, target)
        case Kind.INTEGER:
            return _integers(text, target)
        case Kind.UUID:
            return uuids(text)
        case Kind.JSON:
            return json_text.as_jsonb(text, replace=replace)
        case Kind.BINARY:
            return pa.array([_bytes(value) for value in text.to_pylist()], target)
        case _:
            return text.cast(target)


def _integers(text: ArrowArray, target: ArrowType) -> ArrowArray:
    if not _compute.all(_compute.match_substring_regex(text, _INTEGER)).as_py():
        raise ValueError("it is not written as an integer")
    return _compute.replace_substring_regex(text, _INTEGER, r"\1").cast(target)


def _numbers(text: ArrowArray, target: ArrowType) -> ArrowArray:
    numbers = text.cast(target)
    # A fraction becomes the nearest double, as everywhere; an integer is meant to the last digit.
    for value in text.filter(_compute.match_substring_regex(text, _LONG_INTEGER)).to_pylist():
        if int(float(value)) != int(value):
            raise ValueError("a double would round it: declare the column integer or decimal(p,s)")
    return numbers


def uuids(text: ArrowArray) -> ArrowArray:
    """Written UUIDs, with or without hyphens, as their 16 bytes.

    Raises:
        ValueError: one is not.
    """
    return pa.array([_uuid(value) for value in text.to_pylist()], pa.binary())


def _uuid(value: str | None) -> bytes | None:
    if value is None:
        return None
    if not _UUID.fullmatch(value):
        raise ValueError("it is not written as a UUID")
    return bytes.fromhex(value.replace("-", ""))


def _time(value: str | None) -> int | None:
    if value is None:
        return None
    found = _TIME.fullmatch(value)
    if found is None:
        raise ValueError("it is not written as a time, 13:30:00.123456")
    hours, minutes, seconds, fraction = found.groups()
    whole = (int(hours) * 60 + int(minutes)) * 60 + int(seconds or 0)
    return whole * 1_000_000 + int((fraction or "0").ljust(6, "0")[:6])


def _bytes(value: str | None) -> bytes | None:
    if value is None:
        return None
    if value.startswith("\\x"):
        return bytes.fromhex(value[2:])
    return base64.b64decode(value, validate=True)
