"""What a build's scratch tables hold: rows of silver and rows turned away, for each partition."""

from collections.abc import Iterable
from datetime import date
from typing import Any

from psycopg import sql

from quicksilver.warehouse.connection import Connection
from quicksilver.warehouse.tables import Table


def is_silver(table: Table) -> bool:
    """Whether its rows count as silver: a table of schema `silver` that holds no rejects."""
    return table.schema == "silver" and not table.name.endswith("_rejected")


async def rows_of_silver(connection: Connection, tables: Iterable[Table]) -> dict[date, int]:
    """Rows over all of silver's tables."""
    found: dict[date, int] = {}
    for row in await _counted(connection, filter(is_silver, tables), "dt"):
        found[row["dt"]] = found.get(row["dt"], 0) + row["rows"]
    return found


async def rows_rejected(
    connection: Connection, tables: Iterable[Table]
) -> dict[date, dict[str, int]]:
    """Rows turned away by reason, over silver's tables named `…_rejected`."""
    found: dict[date, dict[str, int]] = {}
    turned_away = (t for t in tables if t.schema == "silver" and not is_silver(t))
    for row in await _counted(connection, turned_away, "dt, reason"):
        reasons = found.setdefault(row["dt"], {})
        reasons[row["reason"]] = reasons.get(row["reason"], 0) + row["rows"]
    return {dt: dict(sorted(reasons.items())) for dt, reasons in found.items()}


async def _counted(
    connection: Connection, tables: Iterable[Table], by: str
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for table in tables:
        statement = sql.SQL("select {by}, count(*) as rows from {table} group by {by}").format(
            by=sql.SQL(by),  # pyright: ignore[reportArgumentType]
            table=table.source,
        )
        rows += await (await connection.execute(statement)).fetchall()
    return rows
