"""Columns that a dataset declares, and whether a file's schema carries them. Pure."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

# pyarrow's compiled half carries no types, so a checker sees these as unknown.
ArrowType: TypeAlias = Any


ArrowSchema: TypeAlias = Any


ArrowTable: TypeAlias = Any


ArrowArray: TypeAlias = Any

_arrow: Any = pa
# Its functions are made at run time, where a checker does not see them.
_compute: Any = pc
_DECIMAL = re.compile(r"decimal\((\d+),\s*(\d+)\)", re.ASCII)


class Kind(StrEnum):
    """What a column's values are; several Arrow types may carry one kind."""

    TIMESTAMP = "timestamp"
    TIMESTAMPTZ = "timestamptz"
    INTEGER = "integer"
    NUMBER = "number"
    DECIMAL = "decimal"
    TEXT = "text"
    DATE = "date"
    TIME = "time"
    BOOLEAN = "boolean"
    UUID = "uuid"
    JSON = "json"
    BINARY = "binary"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the layout, under the name that bronze gives it."""

    name: str
    kind: Kind
    required: bool
    former: tuple[str, ...] = ()
    """Other names under which the same column has been published."""
    digits: tuple[int, int] | None = None
    """Of a decimal: how many digits, and how many of them behind the point."""

    @property
    def said(self) -> str:
        """The kind as a sentence takes it: `an integer`, `a decimal(12,2)`."""
        name = f"{self.kind}({self.digits[0]},{self.digits[1]})" if self.digits else self.kind
        return f"{'an' if name[0] in 'aeio' else 'a'} {name}"


def declared_column(name: str, kind: str, *, required: bool, former: tuple[str, ...]) -> Column:
    """A column as a declaration names its kind: `integer`, `decimal(12,2)`."""
    found = _DECIMAL.fullmatch(kind)
    if found is None:
        return Column(name, Kind(kind), required, former)
    return Column(name, Kind.DECIMAL, required, former, (int(found[1]), int(found[2])))


def stored_type(found: ArrowType) -> ArrowType:
    """A type without what only says how values are packed: dictionaries, runs, foreign names."""
    while True:
        if pt.is_dictionary(found) or pt.is_run_end_encoded(found):
            found = found.value_type
        elif isinstance(found, _arrow.BaseExtensionType) and not is_uuid(found) | is_json(found):
            found = found.storage_type
        else:
            return found


def unpacked(values: ArrowArray) -> ArrowArray:
    """The values themselves: no dictionary, no runs, no foreign extension type."""
    while values.type != stored_type(values.type):
        if pt.is_dictionary(values.type):
            values = values.dictionary_decode()
        elif pt.is_run_end_encoded(values.type):
            values = _compute.run_end_decode(values)
        else:
            values = values.storage
    return values


def is_uuid(found: ArrowType) -> bool:
    """Whether values are UUIDs by the file's own word."""
    return isinstance(found, _arrow.UuidType)


def is_json(found: ArrowType) -> bool:
    """Whether values are JSON texts by the file's own word."""
    return isinstance(found, _arrow.JsonType)


def is_text(found: ArrowType) -> bool:
    """Whether values are strings."""
    return pt.is_string(found) or pt.is_large_string(found) or pt.is_string_view(found)


def is_bytes(found: ArrowType) -> bool:
    """Whether values are bytes, of any length or a fixed one."""
    return (
        pt.is_binary(found)
        or pt.is_large_binary(found)
        or pt.is_binary_view(found)
        or pt.is_fixed_size_binary(found)
    )


def fits(kind: Kind, found: ArrowType) -> bool:
    """Whether values of an Arrow type can be read as that kind, without guessing a format."""
    found = stored_type(found)
    match kind:
        case Kind.TIMESTAMP:
            # With a zone it would be another moment: TLC's times are New York's, without one.
            return pt.is_timestamp(found) and found.tz is None
        case Kind.TIMESTAMPTZ:
            return pt.is_timestamp(found) and found.tz is not None
        case Kind.INTEGER | Kind.NUMBER | Kind.DECIMAL:
            # Ids turn floating where a month has empty ones; the loader proves them whole.
            return pt.is_integer(found) or pt.is_floating(found) or pt.is_decimal(found)
        case Kind.TEXT:
            # Impala, and Spark and Hive of old, write strings without saying so.
            return is_text(found) or is_bytes(found) or is_uuid(found) or is_json(found)
        case Kind.DATE:
            return pt.is_date(found)
        case Kind.TIME:
            return pt.is_time(found)
        case Kind.BOOLEAN:
            return pt.is_boolean(found)
        case Kind.UUID:
            sixteen = pt.is_fixed_size_binary(found) and found.byte_width == 16
            return is_uuid(found) or is_text(found) or sixteen
        case Kind.JSON:
            return is_json(found) or is_text(found) or pt.is_nested(found)
        case Kind.BINARY:
            return is_bytes(found) or is_text(found)


def misfit(column: Column, found: ArrowType) -> str:
    """Why a column cannot be of its kind, and what to declare where another kind would do."""
    reason = f"column {column.name} is of type {found}, not {column.said}"
    stored = stored_type(found)
    if pt.is_timestamp(stored) and column.kind in (Kind.TIMESTAMP, Kind.TIMESTAMPTZ):
        if stored.tz is None:
            return f"{reason}: it has no time zone; declare it `kind: timestamp`"
        return f"{reason}: it has a time zone; declare it `kind: timestamptz`"
    return f"{reason}; correct the file and upload it again"


def problems(schema: ArrowSchema, columns: Sequence[Column]) -> Iterator[str]:
    """Why a file of this schema cannot become bronze, one reason each; nothing when it can.

    Columns that the layout does not know are no problem: TLC adds some every few years.
    """
    renamed = {former: column.name for column in columns for former in column.former}
    names = [renamed.get(name, name) for name in schema.names]
    for column in columns:
        count = names.count(column.name)
        if count > 1:
            yield f"column {column.name} is there {count} times"
        elif count == 0:
            if column.required:
                yield f"column {column.name} is missing"
        else:
            found = schema.field(names.index(column.name)).type
            # In a column that nobody needs, "all null" says only that TLC had nothing to write.
            if not fits(column.kind, found) and (column.required or not pt.is_null(found)):
                yield f"column {column.name} is of type {found}, not {column.said}"
