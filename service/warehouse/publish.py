"""Scratch tables become the partition: one transaction, all tables or none.

Every table of bronze, silver and gold is partitioned by `dt`, its children in schema `partitions`.
A partition that is new is attached as it was built, without a copy; one that is there is replaced
row by row. Neither takes a lock that a reader waits for.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from psycopg import sql

from quicksilver.domain.partition import Partition
from quicksilver.support import failpoint
from quicksilver.support.statements import statement
from quicksilver.warehouse.connection import Connection
from quicksilver.warehouse.fence import assert_holder
from quicksilver.warehouse.tables import Table, columns_of, exists

# Publishing a partition shares the lock of its year, what spans the year's partitions owns it.
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
    build_id: int,
    generation: int,
    tables: Sequence[Table],
    counts: Counts,
    *,
    unlogged: bool,
    loaded_at: datetime,
    details: Mapping[str, Any],
) -> None:
    """Replace the partition in every table, in one transaction, if the build still may.

    Raises:
        FencedError: it may not; nothing changed.
    """
    async with connection.transaction():
        await connection.execute("set local synchronous_commit = on")
        await connection.execute(
            "select pg_advisory_xact_lock_shared(%s, %s)", (YEAR_LOCK, partition.dt.year)
        )
        await assert_holder(connection, partition, build_id)
        # Sorted: two builds that lock the same tables lock them in the same order.
        for table in sorted(tables):
            await _replace(connection, table, partition.dt, unlogged=unlogged)
        await connection.execute(
            statement("fence_published"),
            {
                "dataset": partition.dataset,
                "dt": partition.dt,
                "build": build_id,
                "generation": generation,
                "rows_bronze": counts.bronze,
                "rows_silver": counts.silver,
                "rows_rejected": counts.rejected,
                "loaded_at": loaded_at,
                "details": json.dumps(details, default=str),
            },
        )
        failpoint.reach("before-final-commit")


async def _replace(connection: Connection, table: Table, dt: date, *, unlogged: bool) -> None:
    child = table.child(dt)
    target = sql.Identifier("partitions", child)
    if await exists(connection, "partitions", child):
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
            sql.SQL("alter table {} rename to {}").format(
                sql.Identifier("partitions", table.scratch), sql.Identifier(child)
            )
        )
    await connection.execute(
        sql.SQL("alter table {} attach partition {} for values in ({})").format(
            table.parent, target, sql.Literal(dt)
        )
    )


async def _copy(connection: Connection, table: Table, target: sql.Identifier) -> None:
    columns = await columns_of(connection, [f"build.{table.scratch}"])
    names = columns[f"build.{table.scratch}"]
    listed = sql.SQL(", ").join(map(sql.Identifier, names))
    await connection.execute(
        sql.SQL("insert into {} ({}) select {} from {}").format(
            target, listed, listed, table.source
        )
    )
