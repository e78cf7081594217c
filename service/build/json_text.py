"""Nested values as JSON text, and JSON text as Postgres' jsonb takes it.

What JSON has no word for: NaN and infinities are null, bytes are base64, decimals and times are
strings, a map is a list of `[key, value]`.
"""

import base64
import json
import math
import re
from collections.abc import Callable
from decimal import Decimal
from itertools import islice
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from quicksilver.build.clean_text import clean
from quicksilver.build.columns import is_bytes, is_json, is_text, is_uuid, stored_type, unpacked

# pyarrow's compiled half carries no types, so a checker sees these as unknown.
ArrowArray: TypeAlias = Any
# Its functions are made at run time, where a checker does not see them.
_compute: Any = pc

# Before the text, in jsonb's wire format.
_VERSION = b"\x01"
_ESCAPED_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


class Number(str):
    """A number of a JSON text, digit by digit as it stood there."""

    __slots__ = ()


def load(text: str | bytes) -> Any:
    """Read a JSON text; its numbers are `Number`, so that none is rounded.

    Raises:
        ValueError: it is not JSON, or an object has a name twice.
    """
    return _DECODER.decode(text if isinstance(text, str) else text.decode())


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice!r} is there twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(
    parse_float=Number,
    parse_int=Number,
    parse_constant=_no_constant,
    object_pairs_hook=_once,
)


def dump(value: Any) -> str:
    """The opposite of `load`: numbers digit by digit as they were."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, dict):
        inner = (f"{json.dumps(name)}: {dump(item)}" for name, item in value.items())
        return f"{{{', '.join(inner)}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(dump, value))}]"
    return json.dumps(value)


def as_jsonb(text: ArrowArray, *, replace: bool) -> ArrowArray:
    """JSON texts as jsonb's wire format, once they are known to be what jsonb takes.

    Raises:
        ValueError: one is not JSON, or holds a NUL (U+FFFD with `replace`) or half a character.
    """
    return pa.array([_checked(value, replace=replace) for value in text.to_pylist()], pa.binary())


def _checked(value: str | None, *, replace: bool) -> bytes | None:
    if value is None:
        return None
    found = load(value)
    if "\\u" in value:
        if _ESCAPED_NUL.search(value):
            if not replace:
                raise ValueError("it holds \\u0000, which Postgres' jsonb cannot")
            value = _ESCAPED_NUL.sub(r"\1\\ufffd", value)
        try:
            json.dumps(found, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("it holds half a character, \\ud800 to \\udfff alone") from None
    return _VERSION + value.encode()


def written(values: ArrowArray, *, replace: bool) -> ArrowArray:
    """Nested values as JSON text; durations, which stand alone, as Postgres' interval reads them.

    Raises:
        ValueError, pa.ArrowException: a value has no place in JSON.
    """
    items = _plain(values, replace=replace)
    if pt.is_duration(values.type) or pt.is_interval(values.type):
        return pa.array(items, pa.string())
    return pa.array([None if item is None else json.dumps(item) for item in items], pa.string())


def _plain(values: ArrowArray, *, replace: bool) -> list[Any]:
    """What `json.dumps` takes, for each value."""
    arrow = values.type
    if arrow != stored_type(arrow):
        return _plain(unpacked(values), replace=replace)
    if is_json(arrow):
        values, arrow = values.storage, values.storage.type
    if pt.is_struct(arrow):
        return _records(values, replace=replace)
    if pt.is_map(arrow):
        return _maps(values, replace=replace)
    if pt.is_list(arrow) or pt.is_large_list(arrow) or _is_other_list(arrow):
        lengths = _compute.list_value_length(values).to_pylist()
        return _lists(_plain(values.flatten(), replace=replace), lengths)
    return _leaves(values, replace=replace)


def _records(values: ArrowArray, *, replace: bool) -> list[Any]:
    names = [values.type.field(at).name for at in range(values.type.num_fields)]
    if len(set(names)) != len(names):
        raise ValueError("a struct has a field's name twice")
    columns = [_plain(values.field(at), replace=replace) for at in range(len(names))]
    valid = values.is_valid().to_pylist()
    return [
        {name: column[at] for name, column in zip(names, columns, strict=True)} if there else None
        for at, there in enumerate(valid)
    ]


def _is_other_list(arrow: Any) -> bool:
    return pt.is_fixed_size_list(arrow) or pt.is_list_view(arrow) or pt.is_large_list_view(arrow)


def _maps(values: ArrowArray, *, replace: bool) -> list[Any]:
    offsets, valid = values.offsets.to_pylist(), values.is_valid().to_pylist()
    # Its parts are the whole buffers', of a slice too.
    first, last = offsets[0], offsets[-1]
    parts = (values.keys[first:last], values.items[first:last])
    pairs = zip(*(_plain(part, replace=replace) for part in parts), strict=True)
    flat = [list(pair) for pair in pairs]
    return [
        flat[offsets[at] - first : offsets[at + 1] - first] if there else None
        for at, there in enumerate(valid)
    ]


def _lists(flat: list[Any], lengths: list[int | None]) -> list[Any]:
    items = iter(flat)
    return [None if length is None else list(islice(items, length)) for length in lengths]


def _leaves(values: ArrowArray, *, replace: bool) -> list[Any]:
    arrow = values.type
    if is_text(arrow):
        # Escaped, Postgres' text holds a NUL; its jsonb would not.
        return clean(values, replace=replace, nul=True).to_pylist()
    if is_bytes(arrow):
        return _each(values.to_pylist(), lambda v: base64.b64encode(v).decode())
    if is_uuid(arrow):
        return _each(values.to_pylist(), str)
    if pt.is_floating(arrow):
        return _each(values.to_pylist(), lambda v: v if math.isfinite(v) else None)
    if pt.is_decimal(arrow):
        return _each(values.to_pylist(), lambda v: format(v, "f"))
    if pt.is_duration(arrow):
        unit = _PER_SECOND[arrow.unit]
        return _each(values.cast(pa.int64()).to_pylist(), lambda v: _duration(v, unit))
    if pt.is_interval(arrow):
        return _each(values.to_pylist(), lambda v: f"P{v.months}M{v.days}DT{v.nanoseconds / 1e9}S")
    if pt.is_boolean(arrow) or pt.is_integer(arrow) or pt.is_null(arrow):
        return values.to_pylist()
    if pt.is_timestamp(arrow) and arrow.unit == "ns":
        # As in a column of its own: to the microsecond.
        values = values.cast(pa.timestamp("us", tz=arrow.tz), safe=False)
    found = values.cast(pa.string()).to_pylist()
    if any(text is not None and "out of range" in text for text in found):
        raise ValueError("a date is out of range")
    return found


def _each(values: list[Any], convert: Callable[[Any], Any]) -> list[Any]:
    return [None if value is None else convert(value) for value in values]


def _duration(count: int, per_second: int) -> str:
    """ISO 8601, exact: `PT3723.5S`."""
    whole, rest = divmod(abs(count), per_second)
    fraction = str(rest).zfill(len(str(per_second)) - 1).rstrip("0") if rest else ""
    sign = "-" if count < 0 else ""
    return f"PT{sign}{whole}{'.' + fraction if fraction else ''}S"


def dump_values(value: Any) -> str:
    """Nested Python values as JSON text, by the same rules."""
    return json.dumps(_plain_value(value))


def _plain_value(value: Any) -> Any:
    match value:
        case dict():
            return {str(name): _plain_value(item) for name, item in value.items()}
        case list() | tuple():
            return [_plain_value(item) for item in value]
        case float():
            return value if math.isfinite(value) else None
        case bytes():
            return base64.b64encode(value).decode()
        case None | bool() | int() | str():
            return value
        case Decimal():
            return format(value, "f")
        case _:
            return str(value)
