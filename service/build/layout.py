"""What lands in which column of bronze: a dataset's declared columns against a file's schema. Pure.

Every kind of value has one type in bronze, however wide or narrow it was written, so that months
of different years land in one table. What the dataset does not declare is kept under its own name;
where that name is taken by another type, under the name with the type behind it.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.types as pt

from quicksilver.build import names as naming
from quicksilver.build.columns import (
    Column,
    Kind,
    declared_column,
    fits,
    is_bytes,
    is_uuid,
    misfit,
    stored_type,
)
from quicksilver.domain.datasets import Dataset
from quicksilver.errors import BronzeFileError

# pyarrow's compiled half carries no types, so a checker sees these as unknown.
ArrowType: TypeAlias = Any
ArrowSchema: TypeAlias = Any

# What Postgres takes at most, in any table.
_MOST_COLUMNS = 1600
# Arrow's widest decimal; Postgres' numeric takes more, and no file format of these has more.
_MOST_DIGITS = 76
# Columns of bronze that are not the file's.
_RESERVED = frozenset({"dt"})

_KINDS: dict[Kind, tuple[str, ArrowType]] = {
    Kind.TIMESTAMP: ("timestamp without time zone", pa.timestamp("us")),
    Kind.TIMESTAMPTZ: ("timestamp with time zone", pa.timestamp("us", tz="UTC")),
    Kind.INTEGER: ("bigint", pa.int64()),
    Kind.NUMBER: ("double precision", pa.float64()),
    Kind.TEXT: ("text", pa.string()),
    Kind.DATE: ("date", pa.date32()),
    Kind.TIME: ("time without time zone", pa.time64("us")),
    Kind.BOOLEAN: ("boolean", pa.bool_()),
    Kind.UUID: ("uuid", pa.binary()),
    # As its wire format has it: a version byte, then the text.
    Kind.JSON: ("jsonb", pa.binary()),
    Kind.BINARY: ("bytea", pa.binary()),
}


@dataclass(frozen=True, slots=True)
class ColumnMapping:
    """Where one column of a file goes: `name` in bronze, as `arrow` on the wire."""

    source: str
    name: str
    sql_type: str
    arrow: ArrowType
    kind: Kind


@dataclass(frozen=True, slots=True)
class FilePlan:
    """Where a file's columns go, and what of it the dataset did not declare."""

    landings: tuple[ColumnMapping, ...]
    unknown: tuple[str, ...]
    notes: tuple[str, ...] = ()
    """What a person would wonder at: names in bronze that nobody would look for."""


@dataclass(frozen=True, slots=True)
class ColumnBounds:
    """How many columns that nobody declared a file, and a table in all, may have."""

    per_file: int = 200
    per_table: int = 400


def declared_columns(dataset: Dataset) -> tuple[Column, ...]:
    """The columns that a dataset declares, in its order."""
    return tuple(
        declared_column(name, rule.kind, required=rule.required, former=rule.former)
        for name, rule in dataset.columns.items()
    )


def declared_types(columns: Sequence[Column]) -> dict[str, str]:
    """Name and SQL type of each declared column, in order."""
    return {column.name: _carried(column)[0] for column in columns}


def _carried(column: Column) -> tuple[str, ArrowType]:
    if column.digits is None:
        return _KINDS[column.kind]
    precision, scale = column.digits
    if precision > _MOST_DIGITS:
        return f"numeric({precision},{scale})", pa.decimal256(_MOST_DIGITS, min(scale, 38))
    return f"numeric({precision},{scale})", _decimal(precision, scale)


def _decimal(precision: int, scale: int) -> ArrowType:
    return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)


def plan(
    columns: Sequence[Column],
    schema: ArrowSchema,
    present: Mapping[str, str],
    key: str,
    rows: int | None,
    *,
    bounds: ColumnBounds = ColumnBounds(),
    reserved: Collection[str] = _RESERVED,
    is_text: bool = False,
) -> FilePlan:
    """Decide where each column of a file goes.

    `present` are bronze's columns so far and their SQL types; `key` and `rows` are the file's, the
    rows None where only reading it through would tell. `reserved`: columns of bronze that are not
    the file's. `is_text`: the file's strings are values of any kind, written out, as in CSV.

    Raises:
        BronzeFileError: a required column is missing or carries something else, a name is there
            twice, or there are more columns than a file or a table may have.
    """
    sources: list[str] = list(schema.names)
    for source, count in Counter(sources).items():
        if count > 1:
            raise BronzeFileError(
                f"{key}: column {source} is there {count} times; correct the file and upload it"
                " again"
            )
    known = _declared(columns, sources)
    landings: dict[str, ColumnMapping] = {}
    loose: dict[str, tuple[str, ArrowType, Kind]] = {}
    for source in sources:
        arrow = schema.field(source).type
        column = known.get(source)
        if column is None:
            # Of nulls only, it has neither type nor values yet; it becomes a column when it has.
            if not pt.is_null(stored_type(arrow)):
                loose[source] = fallback_type(arrow)
            continue
        if pt.is_null(arrow) and (not column.required or rows == 0):
            continue
        if not fits(column.kind, arrow) and not (is_text and pt.is_string(arrow)):
            required = "required " if column.required else ""
            raise BronzeFileError(f"{key}: {required}{misfit(column, arrow)}")
        landings[source] = ColumnMapping(source, column.name, *_carried(column), column.kind)
    _refuse_missing(columns, known, key, sources)
    declared = declared_types(columns)
    named = _named(loose, present, declared, reserved)
    for source, (sql_type, target, kind) in loose.items():
        landings[source] = ColumnMapping(source, named[source], sql_type, target, kind)
    unknown = tuple(named[source] for source in loose if named[source] not in present)
    own = declared.keys() | set(reserved)
    _refuse_too_many(key, sources, len(loose), unknown, present, own, bounds)
    notes = tuple(
        f"a column whose name is {source!r} in the file is kept as {named[source]}"
        for source in loose
        if not source.strip() or "\0" in source
    )
    return FilePlan(tuple(landings[name] for name in sources if name in landings), unknown, notes)


def _declared(columns: Sequence[Column], sources: Sequence[str]) -> dict[str, Column]:
    """The declared column of each of the file's names that is one."""
    by_name = {column.name: column for column in columns}
    renamed = {former: column for column in columns for former in column.former}
    known: dict[str, Column] = {}
    for source in sources:
        if source in by_name:
            known[source] = by_name[source]
            continue
        column = renamed.get(source)
        # Both spellings in one file: this one is kept beside the column.
        if column and column.name not in sources and column not in known.values():
            known[source] = column
    return known


def _refuse_missing(
    columns: Sequence[Column], known: Mapping[str, Column], key: str, sources: Sequence[str]
) -> None:
    found = {column.name for column in known.values()}
    for column in columns:
        if column.required and column.name not in found:
            has = ", ".join(sources[:100]) or "no columns"
            more = f" and {len(sources) - 100} more" if len(sources) > 100 else ""
            raise BronzeFileError(
                f"{key}: required column {column.name} is missing (the file has: {has}{more});"
                " correct the file and upload it again"
            )


def _refuse_too_many(
    key: str,
    sources: Sequence[str],
    undeclared: int,
    new: Sequence[str],
    present: Mapping[str, str],
    own: AbstractSet[str],
    bounds: ColumnBounds,
) -> None:
    has = f"{key} has {len(sources)} columns, {undeclared} of them undeclared"
    cure = "declare those that are needed, raise the setting, or write fewer"
    table = present.keys() | own
    if len(table) + len(set(new) - table) > _MOST_COLUMNS:
        raise BronzeFileError(
            f"{has}: with the table's own {len(table)} they are more than the {_MOST_COLUMNS}"
            f" that Postgres takes; write fewer, or nest them in one"
        )
    if len(new) > bounds.per_file:
        raise BronzeFileError(
            f"{has}, {len(new)} of those new to the table: a file may bring {bounds.per_file}"
            f" (QUICKSILVER_COLUMNS_PER_FILE), and Postgres takes {_MOST_COLUMNS} in all; {cure}"
        )
    before = len(present.keys() - own)
    if new and before + len(new) > bounds.per_table:
        raise BronzeFileError(
            f"{has}, {len(new)} of those new to a table that has {before} such: a table may have"
            f" {bounds.per_table} (QUICKSILVER_COLUMNS_PER_TABLE); {cure}"
        )


def fallback_type(arrow: ArrowType) -> tuple[str, ArrowType, Kind]:
    """SQL type, Arrow type and kind of a column that nobody declared; text at the worst."""
    arrow = stored_type(arrow)
    kind = Kind.TEXT
    if pt.is_boolean(arrow):
        kind = Kind.BOOLEAN
    elif pt.is_uint64(arrow):
        return "numeric", pa.decimal128(20, 0), Kind.DECIMAL
    elif pt.is_integer(arrow):
        kind = Kind.INTEGER
    elif pt.is_floating(arrow):
        kind = Kind.NUMBER
    elif pt.is_decimal(arrow):
        # A negative scale counts zeros before the point.
        digits = min(arrow.precision - min(arrow.scale, 0), _MOST_DIGITS)
        return "numeric", _decimal(digits, max(arrow.scale, 0)), Kind.DECIMAL
    elif pt.is_date(arrow):
        kind = Kind.DATE
    elif pt.is_timestamp(arrow):
        kind = Kind.TIMESTAMP if arrow.tz is None else Kind.TIMESTAMPTZ
    elif is_uuid(arrow):
        kind = Kind.UUID
    elif is_bytes(arrow):
        kind = Kind.BINARY
    return (*_KINDS[kind], kind)


def _named(
    loose: Mapping[str, tuple[str, ArrowType, Kind]],
    present: Mapping[str, str],
    declared: Mapping[str, str],
    reserved: Collection[str],
) -> dict[str, str]:
    """A name in bronze for each undeclared column: its own where that is free."""
    taken = dict(present) | dict(declared)
    used = {*declared, *reserved}
    named: dict[str, str] = {}
    # Whose name can stay has it; the others give way, in an order that is the file's no more.
    own = [source for source in loose if naming.is_own(source, reserved)]
    for source in [*own, *sorted(loose.keys() - set(own))]:
        sql_type = loose[source][0]
        for name in _candidates(source, sql_type, present):
            if name not in used and taken.get(name, sql_type) == sql_type:
                named[source] = name
                used.add(name)
                break
    return named


def _candidates(source: str, sql_type: str, present: Mapping[str, str]) -> Iterator[str]:
    plain = naming.plain_name(source, present)
    if not naming.is_system(plain):
        yield plain
    yield naming.typed_name(source, sql_type)
    yield naming.hashed_name(plain, source)
    # Taken too, by another type: 64 bits of hash are not taken twice.
    yield naming.hashed_name(naming.typed_name(source, sql_type), source + sql_type)
