"""Which schemas and tables are Quicksilver's: no other is ever changed, filled or dropped.

A schema is ours when its comment carries this installation's id, or when we found it empty and
marked it so. A table is ours when `quicksilver.published_table` names it. A warehouse of an earlier
version has neither: there the bookkeeping tables of that version are the proof, once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from psycopg import sql

from quicksilver.errors import NotOursError
from quicksilver.support.statements import statement

if TYPE_CHECKING:
    from quicksilver.warehouse.session import Connection

# The tables' children: analysts see the parents only.
CHILDREN = "partitions"
BOOKKEEPING = "quicksilver"

Relation = tuple[str, str]
"""Schema and name."""


async def own_schemas(connection: Connection, scratch: str) -> None:
    """Make the schemas and tables that builds need, or make sure that those there are ours.

    In the caller's transaction, which holds the lock of such changes. `scratch`: the schema of
    scratch tables.

    Raises:
        NotOursError: a schema or table of that name is not Quicksilver's; nothing was changed.
    """
    row = await (
        await connection.execute(statement("warehouse_kind"), {"schema": BOOKKEEPING})
    ).fetchone()
    if row is None or (row["is_taken"] and not (row["is_ours"] or row["is_earlier"])):
        raise NotOursError(
            f"schema {BOOKKEEPING} of the warehouse holds tables that are not Quicksilver's: give"
            " the warehouse a database of its own (QUICKSILVER_WAREHOUSE_URL)"
        )
    is_earlier = row["is_earlier"] and not row["is_ours"]
    mark = await _mark(connection, is_earlier=is_earlier) if row["is_ours"] else None
    for schema in (scratch, CHILDREN):
        # An earlier version kept its children there, unmarked.
        if not (is_earlier and schema == CHILDREN):
            await _refuse_foreign(connection, schema, mark)
    await connection.execute(statement("warehouse_schema"))
    mark = await _mark(connection, is_earlier=is_earlier)
    for schema in (scratch, CHILDREN):
        await connection.execute(
            sql.SQL("create schema if not exists {at}; comment on schema {at} is {mark}").format(
                at=sql.Identifier(schema), mark=sql.Literal(mark)
            )
        )
    if is_earlier:
        await connection.execute(statement("adopt_partitioned"), {"children": CHILDREN})


async def _mark(connection: Connection, *, is_earlier: bool) -> str:
    """The comment on schemas of this installation, which gets its id when it is first asked."""
    made = await connection.execute(statement("installation"), {"is_earlier": is_earlier})
    row = await made.fetchone()
    return f"quicksilver {row['id'] if row else ''}"


async def _refuse_foreign(connection: Connection, schema: str, mark: str | None) -> None:
    found = await (
        await connection.execute(statement("schema_mark"), {"schema": schema})
    ).fetchone()
    if found is None or found["is_empty"] or (mark and found["mark"] == mark):
        return
    cure = (
        "give the warehouse a database of its own (QUICKSILVER_WAREHOUSE_URL)"
        if schema == CHILDREN
        else "set QUICKSILVER_SCRATCH_SCHEMA to a name that is free"
    )
    raise NotOursError(
        f"schema {schema} of the warehouse was there before and is not Quicksilver's: {cure}"
    )


async def refuse_foreign_tables(connection: Connection, relations: Collection[Relation]) -> None:
    """Make sure that each of the tables is ours, or not there.

    Raises:
        NotOursError: one of them is not Quicksilver's; nothing was changed.
    """
    found = await connection.execute(statement("foreign_tables"), _listed(relations))
    foreign = [f"{row['schema_name']}.{row['table_name']}" for row in await found.fetchall()]
    if foreign:
        raise NotOursError(
            f"{', '.join(foreign)} of the warehouse was there before and is not Quicksilver's:"
            " rename it, or name another bronze_table or model"
        )


async def register_tables(connection: Connection, relations: Collection[Relation]) -> None:
    """Note that these tables are ours, because we have just made them."""
    await connection.execute(statement("register_tables"), _listed(relations))


async def adopt_plain(connection: Connection, relation: Relation, columns: Iterable[str]) -> None:
    """Take over a plain table that an earlier version made, where it has exactly these columns.

    Only in a warehouse that an earlier version left, which kept no list of its tables.
    """
    schema, name = relation
    await connection.execute(
        statement("adopt_plain"),
        {"schema": schema, "name": name, "columns": list(columns)},
    )


async def adopt_seeds(connection: Connection, relations: Collection[Relation]) -> None:
    """Take over the tables of seeds, where an earlier version has loaded them."""
    await connection.execute(statement("adopt_seeds"), _listed(relations))


def _listed(relations: Collection[Relation]) -> dict[str, list[str]]:
    return {
        "schemas": [schema for schema, _ in relations],
        "names": [name for _, name in relations],
    }
