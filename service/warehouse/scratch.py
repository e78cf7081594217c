"""Scratch tables of builds, in a schema of Quicksilver's own: making them, clearing them away.

A comment on each table names its build: a table without that comment is never dropped.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import psycopg
from psycopg import sql

from quicksilver.support.statements import statement
from quicksilver.warehouse.cut import Cut, KeyValue
from quicksilver.warehouse.session import Connection, application_name
from quicksilver.warehouse.tables import defined


@dataclass(frozen=True, slots=True)
class ScratchPartition:
    """One partition's scratch table.

    `value` and `tag` are those of its cut, `day` is the first day of its time, if it has any. Only
    what is attached must survive a crash of Postgres: where rows are copied into a partition that
    is there, the table is unlogged.
    """

    value: KeyValue
    tag: str
    day: date | None
    unlogged: bool


def shared_suffix(worker: int | str, tag: str) -> str:
    """The suffix of a partition's own scratch tables where `worker` builds several at once."""
    return f"{worker}p{tag}"


def scratch_comment(worker: int | str) -> str:
    """The comment that marks a scratch table of a build; the macros write the same."""
    return f"quicksilver scratch {worker}"


async def create_scratch(
    connection: Connection,
    table: sql.Identifier,
    columns: Mapping[str, str],
    cut: Cut,
    partition: ScratchPartition,
    worker: int,
) -> None:
    """Create a table for one partition; the columns that name it fill themselves."""
    await connection.execute(
        sql.SQL("; ").join(
            [
                sql.SQL("create {} table {} ({}, {})").format(
                    _persistence(partition), table, defined(columns), _check(cut, partition)
                ),
                *_filled(table, columns, cut, partition),
                _marked(table, worker),
            ]
        )
    )


async def create_shared_scratch(
    connection: Connection,
    schema: str,
    parent: str,
    columns: Mapping[str, str],
    cut: Cut,
    partitions: Sequence[ScratchPartition],
    worker: int,
) -> None:
    """Create a table with one as above for each of several partitions below it."""
    table = sql.Identifier(schema, parent)
    key = sql.Identifier(cut.column)
    statements = [
        sql.SQL("create table {} ({}) partition by list ({})").format(table, defined(columns), key),
        _marked(table, worker),
    ]
    for one in partitions:
        child = sql.Identifier(schema, shared_suffix(parent, one.tag))
        statements += [
            sql.SQL("create {} table {} partition of {} ({}) for values in ({})").format(
                _persistence(one), child, table, _check(cut, one), sql.Literal(one.value)
            ),
            *_filled(child, columns, cut, one),
            _marked(child, worker),
        ]
    # One round trip for all of them.
    await connection.execute(sql.SQL("; ").join(statements))


def _persistence(partition: ScratchPartition) -> sql.SQL:
    return sql.SQL("unlogged" if partition.unlogged else "")


def _check(cut: Cut, partition: ScratchPartition) -> sql.Composed:
    """What spares Postgres a scan when the table is attached."""
    return sql.SQL("constraint {} check ({} = {})").format(
        sql.Identifier(f"{cut.column}_is_the_partition"),
        sql.Identifier(cut.column),
        sql.Literal(partition.value),
    )


def _filled(
    table: sql.Identifier, columns: Mapping[str, str], cut: Cut, partition: ScratchPartition
) -> list[sql.Composed]:
    """Defaults of the columns that no file brings."""
    values = {cut.column: partition.value} | ({"dt": partition.day} if partition.day else {})
    return [
        sql.SQL("alter table {} alter column {} set default {}").format(
            table, sql.Identifier(column), sql.Literal(value)
        )
        for column, value in values.items()
        if column in columns
    ]


def _marked(table: sql.Identifier, worker: int) -> sql.Composed:
    return sql.SQL("comment on table {} is {}").format(table, sql.Literal(scratch_comment(worker)))


async def drop_scratch(
    connection: Connection, schema: str, names: Collection[str], *suffixes: int | str
) -> None:
    """Drop what builds left of `names`; gives way at once to a session that still uses it.

    By name, because a look through the catalog would cost more with every partition of history.
    """
    wanted = [f"{name}__{suffix}" for suffix in suffixes for name in names]
    found = await connection.execute(
        statement("scratch_named"),
        {"schema": schema, "names": wanted, "marked": scratch_comment("%")},
    )
    await _drop(connection, schema, [row["name"] for row in await found.fetchall()])


async def drop_dead_scratch(connection: Connection, schema: str) -> None:
    """Drop the scratch tables of all builds that have no session any more."""
    found = await connection.execute(
        statement("scratch_of_the_dead"),
        {
            "schema": schema,
            "marked": scratch_comment("%"),
            "prefix": scratch_comment(""),
            "application": application_name(""),
        },
    )
    await _drop(connection, schema, [row["name"] for row in await found.fetchall()])


async def _drop(connection: Connection, schema: str, tables: Sequence[str]) -> None:
    if not tables:
        return
    try:
        async with connection.transaction():
            await connection.execute("set local lock_timeout = '200ms'")
            # "does not exist, skipping" is not worth a log line.
            await connection.execute("set local client_min_messages = warning")
            await connection.execute(
                sql.SQL("drop table if exists {}").format(
                    sql.SQL(", ").join(sql.Identifier(schema, name) for name in tables)
                )
            )
    except (psycopg.errors.LockNotAvailable, psycopg.errors.DependentObjectsStillExist):
        # In use, or a user's view depends on it: left to the next clean-up.
        return
