"""What a build's scratch tables hold: rows of silver and rows turned away, for each partition."""

from collections.abc import Iterable
from typing import Any

from psycopg import sql

from quicksilver.warehouse.cut import Cut, KeyValue
from quicksilver.warehouse.session import Connection
from quicksilver.warehouse.tables import Table


def is_silver(table: Table) -> bool:
    """Whether its rows count as silver: a table of schema `silver` that holds no rejects."""
    return table.schema == "silver" and not table.name.endswith("_rejected")


async def rows_of_silver(
    connection: Connection, tables: Iterable[Table], cut: Cut
) -> dict[KeyValue, int]:
    """Rows over all of silver's tables, by the cut's value of each partition."""
    found: dict[KeyValue, int] = {}
    for row in await _counted(connection, filter(is_silver, tables), cut):
        found[row["value"]] = found.get(row["value"], 0) + row["rows"]
    return found


async def rows_rejected(
    connection: Connection, tables: Iterable[Table], cut: Cut
) -> dict[KeyValue, dict[str, int]]:
    """Rows turned away by reason, over silver's tables named `…_rejected`."""
    found: dict[KeyValue, dict[str, int]] = {}
    turned_away = (t for t in tables if t.schema == "silver" and not is_silver(t))
    for row in await _counted(connection, turned_away, cut, "reason"):
        reasons = found.setdefault(row["value"], {})
        reasons[row["reason"]] = reasons.get(row["reason"], 0) + row["rows"]
    return {value: dict(sorted(reasons.items())) for value, reasons in found.items()}


async def _counted(
    connection: Connection, tables: Iterable[Table], cut: Cut, *by: str
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for table in tables:
        groups = sql.SQL(", ").join(map(sql.Identifier, (cut.column, *by)))
        statement = sql.SQL("select {} as value, {}, count(*) as rows from {} group by {}").format(
            sql.Identifier(cut.column), groups, table.source, groups
        )
        rows += await (await connection.execute(statement)).fetchall()
    return rows
