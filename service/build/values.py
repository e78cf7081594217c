"""A column's values in the type that bronze has for them: exact, or the first that cannot be.

Only what is finer than Postgres' microseconds is cut.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from quicksilver.build import json_text, parsed_text
from quicksilver.build.clean_text import clean
from quicksilver.build.columns import Kind, is_bytes, is_json, is_text, is_uuid, unpacked

# pyarrow's compiled half carries no types, so a checker sees these as unknown.
ArrowArray: TypeAlias = Any
ArrowType: TypeAlias = Any
# Its functions are made at run time, where a checker does not see them.
_compute: Any = pc

# Postgres' calendar begins at Julian day 0, 4714-11-24 BC; its dates end in 5874897.
_FIRST_MICROSECOND = -210_866_803_200_000_000
_FIRST_DAY, _LAST_DAY = -2_440_588, 2_145_042_905
_DAY_MICROSECONDS = 86_400_000_000
# A double holds every decimal of so many digits, and gives it back.
_DOUBLE_DIGITS = 15

# What conversions raise of a value; memory that runs out is no value's fault.
_FAULTS = (pa.ArrowException, ValueError, OverflowError, RecursionError)


class BadValueError(Exception):
    """A value cannot be what its column is.

    `index` counts the array's values from 0; `shown` is the value, shortened; `reason` why not.
    """

    def __init__(self, index: int, shown: str, reason: str) -> None:
        super().__init__(index, shown, reason)
        self.index = index
        self.shown = shown
        self.reason = reason


def converted(
    values: ArrowArray, target: ArrowType, kind: Kind, *, replace: bool, parse: bool
) -> ArrowArray:
    """An array in `target`, the wire's type of its kind.

    `replace`: bytes that are no text, and NUL, become U+FFFD. `parse`: strings are values written
    out, as in CSV.

    Raises:
        BadValueError: for the first value that cannot be.
    """
    values = unpacked(values)

    def convert(some: ArrowArray) -> ArrowArray:
        if parse and (is_text(some.type) or is_bytes(some.type)):
            return parsed_text.parse(some, target, kind, replace=replace)
        return _convert(some, target, kind, replace=replace)

    return _exactly(values, convert)


def _exactly(values: ArrowArray, convert: Callable[[ArrowArray], ArrowArray]) -> ArrowArray:
    try:
        return convert(values)
    except MemoryError:
        raise
    except _FAULTS as error:
        low, high, fault = 0, len(values), error
        # Of the prefixes, the shortest that fails ends with the first bad value.
        while high - low > 1:
            middle = (low + high) // 2
            try:
                convert(values[:middle])
            except _FAULTS as earlier:
                high, fault = middle, earlier
            else:
                low = middle
        raise BadValueError(low, _shown(values[low : low + 1]), _reason(fault)) from error


def _reason(error: Exception) -> str:
    first = str(error).split("\n")[0].rstrip(".")
    return first or type(error).__name__


def _shown(one: ArrowArray) -> str:
    """A value as a sentence shows it; its bare number where Python has no such date."""
    try:
        value = repr(one.to_pylist()[0])
    except (*_FAULTS, UnicodeDecodeError):
        try:
            value = repr(one.cast(pa.binary() if is_text(one.type) else pa.int64()).to_pylist()[0])
        except _FAULTS:
            try:
                value = f"{one.cast(pa.int32()).to_pylist()[0]} days since 1970"
            except _FAULTS:
                value = f"a value of type {one.type}"
    return value if len(value) <= 60 else value[:57] + "..."


def _convert(values: ArrowArray, target: ArrowType, kind: Kind, *, replace: bool) -> ArrowArray:
    match kind:
        case Kind.TEXT:
            return _text(values, replace=replace)
        case Kind.JSON:
            return json_text.as_jsonb(_text(values, replace=replace), replace=replace)
        case Kind.UUID:
            return _uuids(values)
        case Kind.BINARY:
            return values.cast(target)
        case Kind.TIMESTAMP | Kind.TIMESTAMPTZ:
            return microseconds(values, target)
        case Kind.DATE:
            days = values.cast(target)
            _within(days.cast(pa.int32()), _FIRST_DAY, _LAST_DAY, "a date of Postgres")
            return days
        case Kind.TIME:
            times = values.cast(target, safe=not _finer_than_micro(values.type))
            _within(times.cast(pa.int64()), 0, _DAY_MICROSECONDS, "a time of the day")
            return times
        case Kind.INTEGER:
            if pt.is_floating(values.type):
                # An empty id written by pandas is a NaN.
                none = pa.scalar(None, values.type)
                values = _compute.if_else(_compute.is_nan(values), none, values)
            return values.cast(target)
        case Kind.DECIMAL:
            return _decimals(values, target)
        case Kind.NUMBER:
            return _numbers(values, target)
        case Kind.BOOLEAN:
            return values.cast(target)


def _finer_than_micro(arrow: ArrowType) -> bool:
    return bool(arrow.unit == "ns")


def microseconds(values: ArrowArray, target: ArrowType) -> ArrowArray:
    """Timestamps to the microsecond; what is finer is cut, what is out of Postgres' range raises.

    Raises:
        ValueError, pa.ArrowException.
    """
    moments = values.cast(target, safe=not _finer_than_micro(values.type))
    _within(moments.cast(pa.int64()), _FIRST_MICROSECOND, None, "a timestamp of Postgres")
    return moments


def _within(numbers: ArrowArray, low: int, high: int | None, what: str) -> None:
    ends = _compute.min_max(numbers)
    least, most = ends["min"].as_py(), ends["max"].as_py()
    if least is not None and (least < low or (high is not None and most > high)):
        raise ValueError(f"out of the range of {what}")


def _numbers(values: ArrowArray, target: ArrowType) -> ArrowArray:
    numbers = values.cast(target)
    if pt.is_decimal(values.type) and values.type.precision > _DOUBLE_DIGITS:
        back = _decimals(numbers, pa.decimal256(76, max(values.type.scale, 0)))
        if not _compute.all(_compute.equal(back, values.cast(back.type))).as_py():
            raise ValueError("a double would round it: declare the column decimal(p,s)")
    return numbers


def _decimals(values: ArrowArray, target: ArrowType) -> ArrowArray:
    if pt.is_floating(values.type):
        # The shortest digits that mean this very double, and no more of them than the column has.
        return values.cast(pa.float64()).cast(pa.string()).cast(target)
    if pt.is_integer(values.type):
        return values.cast(pa.string()).cast(target)
    return values.cast(target)


def _uuids(values: ArrowArray) -> ArrowArray:
    if is_uuid(values.type):
        values = values.storage
    if is_text(values.type):
        return parsed_text.uuids(values)
    return values.cast(pa.binary())


def _text(values: ArrowArray, *, replace: bool) -> ArrowArray:
    """Any values as text that Postgres takes: strings and bytes as they are, others written out."""
    if is_json(values.type):
        values = values.storage
    if is_text(values.type) or is_bytes(values.type):
        return clean(values, replace=replace)
    if is_uuid(values.type):
        return pa.array([None if v is None else str(v) for v in values.to_pylist()], pa.string())
    if pt.is_time(values.type):
        return values.cast(pa.string())
    return json_text.written(values, replace=replace)
