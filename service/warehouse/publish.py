"""Scratch tables become the partition: one transaction, all tables or none.

Every table of bronze, silver and gold is partitioned by its dataset's cut (`dt`, or the partition's
name), its children in schema `partitions`.
A partition that is new is attached as it was built, without a copy; one that is there is replaced
row by row. Neither takes a lock that a reader waits for.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import sql

from quicksilver.domain.partition import Partition
from quicksilver.errors import InputMovedError
from quicksilver.support import failpoint
from quicksilver.support.statements import statement
from quicksilver.warehouse.cut import Cut
from quicksilver.warehouse.fence import assert_holder
from quicksilver.warehouse.ownership import CHILDREN, Relation
from quicksilver.warehouse.session import Connection, key_of
from quicksilver.warehouse.tables import Table, columns_of, exists

# Publishing a partition takes its year's lock shared, publishing the whole year exclusively.
YEAR_LOCK = 0x51_59


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows that a build publishes."""

    bronze: int
    silver: int
    rejected: int


async def publish(
    connection: Connection,
    partition: Partition,
    cut: Cut,
    build_id: int,
    generation: int,
    tables: Sequence[Table],
    counts: Counts,
    *,
    unlogged: bool,
    loaded_at: datetime,
    details: Mapping[str, Any],
    retention_days: int,
    inputs: Mapping[Relation, int | None] | None = None,
) -> None:
    """Replace the partition in every table, in one transaction, if the build still may.

    Waits for locks as long as the session's `lock_timeout`. `retention_days`: how long what earlier
    builds said of themselves is kept. `inputs`: the other tables that its
    models read, and the build that had published the partition in each when they began.

    Raises:
        InputMovedError: another build published one of the inputs meanwhile; nothing changed.
        FencedError: it may not; nothing changed.
    """
    async with connection.transaction():
        await connection.execute("set local synchronous_commit = on")
        if partition.day is not None:
            await connection.execute(
                "select pg_advisory_xact_lock_shared(%s, %s)", (YEAR_LOCK, partition.day.year)
            )
        # Sorted: two builds that lock the same tables lock them in the same order. Before the
        # fence, for which the settler waits: a blocked table then does not block the fence.
        there = [await _lock(connection, table, partition, cut) for table in sorted(tables)]
        await assert_holder(connection, partition, build_id)
        fences = {**_fences(tables, partition, cut), "build": build_id}
        await connection.execute(statement("table_fence_take"), fences)
        if inputs:
            await _refuse_moved(connection, partition, inputs)
        for table, is_there in zip(sorted(tables), there, strict=True):
            await _replace(connection, table, partition, cut, is_there=is_there, unlogged=unlogged)
        await _note_rows(connection, sorted(tables), fences)
        await connection.execute(
            statement("fence_published"),
            {
                **key_of(partition),
                "build": build_id,
                "generation": generation,
                "rows_bronze": counts.bronze,
                "rows_silver": counts.silver,
                "rows_rejected": counts.rejected,
                "loaded_at": loaded_at,
                "details": json.dumps(details, default=str),
                "retention_days": retention_days,
            },
        )
        failpoint.reach("before-final-commit")


def _fences(tables: Sequence[Table], partition: Partition, cut: Cut) -> dict[str, Any]:
    ordered = sorted(tables)
    return {
        "partition": partition.name,
        "dataset": partition.dataset,
        "schemas": [table.schema for table in ordered],
        "names": [table.name for table in ordered],
        "children": [table.child(cut.tag(partition)) for table in ordered],
    }


async def _refuse_moved(
    connection: Connection, partition: Partition, inputs: Mapping[Relation, int | None]
) -> None:
    name = partition.name
    found = await connection.execute(statement("table_versions"), {"partitions": [name]})
    now = {
        (row["schema_name"], row["table_name"]): row["build_id"] for row in await found.fetchall()
    }
    for relation, build in inputs.items():
        if now.get(relation) != build:
            raise InputMovedError(
                f"{'.'.join(relation)} of {name} was published anew while {partition} was built"
                " from it"
            )


async def _note_rows(
    connection: Connection, tables: Sequence[Table], fences: Mapping[str, Any]
) -> None:
    """Note which tables hold rows of the partition: one that is empty later has lost them."""
    looks = [
        sql.SQL("select {}, {} where exists (select from {})").format(
            sql.Literal(table.schema), sql.Literal(table.name), sql.Identifier(CHILDREN, child)
        )
        for table, child in zip(tables, fences["children"], strict=True)
    ]
    await connection.execute(
        sql.SQL(
            "update quicksilver.table_partition set has_rows = (schema_name, table_name) in ({})"
            " where partition = {} and build_id = {}"
        ).format(
            sql.SQL(" union all ").join(looks),
            sql.Literal(fences["partition"]),
            sql.Literal(fences["build"]),
        )
    )


async def _lock(connection: Connection, table: Table, partition: Partition, cut: Cut) -> bool:
    """Lock what publishing changes; whether the partition is there."""
    child = table.child(cut.tag(partition))
    if await exists(connection, CHILDREN, child):
        wanted = sql.SQL("lock table {} in row exclusive mode")
        await connection.execute(wanted.format(sql.Identifier(CHILDREN, child)))
        return True
    wanted = sql.SQL("lock table {} in share update exclusive mode")
    await connection.execute(wanted.format(table.parent))
    # Another build may have been here first: of another dataset, whose models share the table.
    return await exists(connection, CHILDREN, child)


async def _replace(
    connection: Connection,
    table: Table,
    partition: Partition,
    cut: Cut,
    *,
    is_there: bool,
    unlogged: bool,
) -> None:
    child = table.child(cut.tag(partition))
    target = sql.Identifier(CHILDREN, child)
    if is_there:
        await connection.execute(sql.SQL("delete from {}").format(target))
        await _copy(connection, table, target)
        return
    if unlogged:
        # A table that is new to a partition which is not: what a crash would empty is copied.
        await connection.execute(sql.SQL("create table {} (like {})").format(target, table.parent))
        await _copy(connection, table, target)
    else:
        await connection.execute(
            sql.SQL("alter table {} set schema partitions").format(table.source)
        )
        await connection.execute(
            sql.SQL("alter table {} rename to {}; comment on table {} is null").format(
                sql.Identifier(CHILDREN, table.scratch), sql.Identifier(child), target
            )
        )
    await connection.execute(
        sql.SQL("alter table {} attach partition {} for values in ({})").format(
            table.parent, target, sql.Literal(cut.value(partition))
        )
    )


async def _copy(connection: Connection, table: Table, target: sql.Identifier) -> None:
    names = (await columns_of(connection, [table.source_name]))[table.source_name]
    listed = sql.SQL(", ").join(map(sql.Identifier, names))
    await connection.execute(
        sql.SQL("insert into {} ({}) select {} from {}").format(
            target, listed, listed, table.source
        )
    )
