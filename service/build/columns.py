"""Columns that a dataset declares, and whether a file's schema carries them. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

import pyarrow.types as pt

# pyarrow's compiled half carries no types, so a checker sees these as unknown.
ArrowType: TypeAlias = Any


ArrowSchema: TypeAlias = Any


ArrowTable: TypeAlias = Any


class Kind(StrEnum):
    """What a column's values are; several Arrow types may carry one kind."""

    TIMESTAMP = "timestamp"
    INTEGER = "integer"
    NUMBER = "number"
    TEXT = "text"
    DATE = "date"
    BOOLEAN = "boolean"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the layout, under the name that bronze gives it."""

    name: str
    kind: Kind
    required: bool
    former: tuple[str, ...] = ()
    """Other names under which TLC has published the same column."""


def fits(kind: Kind, found: ArrowType) -> bool:
    """Whether values of an Arrow type can be read as that kind, without guessing a format."""
    if pt.is_dictionary(found):
        found = found.value_type
    match kind:
        case Kind.TIMESTAMP:
            # With a zone it would be another moment: TLC's times are New York's, without one.
            return pt.is_timestamp(found) and found.tz is None
        case Kind.INTEGER:
            # Ids turn floating where a month has empty ones; the loader proves them whole.
            return pt.is_integer(found) or pt.is_floating(found)
        case Kind.NUMBER:
            return pt.is_integer(found) or pt.is_floating(found) or pt.is_decimal(found)
        case Kind.TEXT:
            return pt.is_string(found) or pt.is_large_string(found) or pt.is_string_view(found)
        case Kind.DATE:
            return pt.is_date(found)
        case Kind.BOOLEAN:
            return pt.is_boolean(found)


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
                yield f"column {column.name} is of type {found}, not a {column.kind}"
