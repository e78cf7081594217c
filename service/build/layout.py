"""What lands in which column of bronze: a dataset's declared columns against a file's schema. Pure.

Every kind of value has one type in bronze, however wide or narrow it was written, so that months
of different years land in one table. What the dataset does not declare is kept under its own name;
where that name is taken by another type, under the name with the type behind it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.types as pt

from quicksilver.build.columns import Column, Kind, fits
from quicksilver.domain.datasets import Dataset
from quicksilver.errors import BronzeFileError

# pyarrow's compiled half carries no types, so a checker sees these as unknown.
ArrowType: TypeAlias = Any
ArrowSchema: TypeAlias = Any


_KINDS: dict[Kind, tuple[str, ArrowType]] = {
    Kind.TIMESTAMP: ("timestamp without time zone", pa.timestamp("us")),
    Kind.INTEGER: ("bigint", pa.int64()),
    Kind.NUMBER: ("double precision", pa.float64()),
    Kind.TEXT: ("text", pa.string()),
    Kind.DATE: ("date", pa.date32()),
    Kind.BOOLEAN: ("boolean", pa.bool_()),
}

_A = {kind: "an" if kind[0] in "aeiou" else "a" for kind in Kind}

# Postgres cuts longer names in silence.
_NAME_BYTES = 63


@dataclass(frozen=True, slots=True)
class ColumnMapping:
    """Where one column of a file goes: `name` in bronze, as `arrow` on the wire."""

    source: str
    name: str
    sql_type: str
    arrow: ArrowType


@dataclass(frozen=True, slots=True)
class FilePlan:
    """Where a file's columns go, and what of it the dataset did not declare."""

    landings: tuple[ColumnMapping, ...]
    unknown: tuple[str, ...]


def declared_columns(dataset: Dataset) -> tuple[Column, ...]:
    """The columns that a dataset declares, in its order."""
    return tuple(
        Column(name, Kind(rule.kind), required=rule.required, former=rule.former)
        for name, rule in dataset.columns.items()
    )


def declared_types(columns: Sequence[Column]) -> dict[str, str]:
    """Name and SQL type of each declared column, in order."""
    return {column.name: _KINDS[column.kind][0] for column in columns}


def plan(
    columns: Sequence[Column], schema: ArrowSchema, present: Mapping[str, str], key: str, rows: int
) -> FilePlan:
    """Decide where each column of a file goes.

    `present` are bronze's columns so far and their SQL types; `key` and `rows` are the file's.

    Raises:
        BronzeFileError: a required column is missing or carries something else.
    """
    taken = dict(present) | declared_types(columns) | {"dt": "date"}
    renamed = {former: column.name for column in columns for former in column.former}
    by_name = {column.name: column for column in columns}
    names: list[str] = list(schema.names)
    found: dict[str, str] = {}
    landings: list[ColumnMapping] = []
    unknown: list[str] = []
    for source in names:
        if names.count(source) > 1:
            raise BronzeFileError(f"{key}: column {source} is there {names.count(source)} times")
        name = renamed.get(source, source)
        if name != source and name in names:
            # Both spellings in one file: the other one is the column, this one is kept beside it.
            name = source
        arrow = schema.field(source).type
        column = by_name.get(name)
        if column is not None:
            found[name] = source
            if pt.is_null(arrow) and (not column.required or rows == 0):
                continue
            if not fits(column.kind, arrow):
                kind = f"required column {name}" if column.required else f"column {name}"
                raise BronzeFileError(
                    f"{key}: {kind} is of type {arrow}, not {_A[column.kind]} {column.kind};"
                    " correct the file and upload it again"
                )
            sql_type, target = _KINDS[column.kind]
            landings.append(ColumnMapping(source, name, sql_type, target))
            continue
        if pt.is_null(arrow):
            # It has neither type nor values yet; it becomes a column when it has.
            continue
        sql_type, target = fallback_type(arrow)
        name = _free_name(source, sql_type, taken)
        if name not in present:
            unknown.append(name)
        taken[name] = sql_type
        landings.append(ColumnMapping(source, name, sql_type, target))
    for column in columns:
        if column.required and column.name not in found:
            raise BronzeFileError(
                f"{key}: required column {column.name} is missing (the file has: "
                f"{', '.join(names) or 'no columns'}); correct the file and upload it again"
            )
    return FilePlan(tuple(landings), tuple(unknown))


def fallback_type(arrow: ArrowType) -> tuple[str, ArrowType]:
    """SQL and Arrow type under which a column that nobody declared is kept; text at the worst."""
    if pt.is_dictionary(arrow):
        return fallback_type(arrow.value_type)
    if pt.is_boolean(arrow):
        return "boolean", pa.bool_()
    if pt.is_uint64(arrow):
        return "numeric", pa.decimal128(20, 0)
    if pt.is_integer(arrow):
        return "bigint", pa.int64()
    if pt.is_floating(arrow):
        return "double precision", pa.float64()
    if pt.is_decimal(arrow):
        return "numeric", pa.decimal128(min(arrow.precision, 38), arrow.scale)
    if pt.is_date(arrow):
        return "date", pa.date32()
    if pt.is_timestamp(arrow):
        if arrow.tz is None:
            return "timestamp without time zone", pa.timestamp("us")
        return "timestamp with time zone", pa.timestamp("us", tz="UTC")
    if pt.is_binary(arrow) or pt.is_large_binary(arrow) or pt.is_fixed_size_binary(arrow):
        return "bytea", pa.binary()
    return "text", pa.string()


def _free_name(source: str, sql_type: str, taken: Mapping[str, str]) -> str:
    """The source's own name, or with its type behind it where that name holds another type."""
    name = _cut(source, _NAME_BYTES)
    if taken.get(name, sql_type) == sql_type and name != "dt":
        return name
    suffix = "__" + sql_type.split()[0]
    return _cut(source, _NAME_BYTES - len(suffix)) + suffix


def _cut(name: str, limit: int) -> str:
    return name.encode()[:limit].decode(errors="ignore")
