"""What spans a year's partitions: its mart, and the tests across them, under the year's lock.

The same write, audit, publish as a partition: dbt makes scratch tables, tests them, and one
transaction replaces the year's rows. While it runs, no partition of the year is published; they
wait for the lock, and load and build meanwhile.
"""

import asyncio
import secrets
from datetime import date, timedelta
from typing import Any

from psycopg import sql

from quicksilver.build import dbt, dbt_project
from quicksilver.build.models import refuse_failures, scratch_tables
from quicksilver.build.prepare import ensure_ready
from quicksilver.settings import Settings
from quicksilver.warehouse.connection import Warehouse
from quicksilver.warehouse.ownership import adopt_plain
from quicksilver.warehouse.publish import YEAR_LOCK
from quicksilver.warehouse.scratch import drop_scratch
from quicksilver.warehouse.session import application_name, build_options
from quicksilver.warehouse.tables import columns_of, make_table

# A year's marts read what its partitions have published: minutes at most.
_TIME_LIMIT = timedelta(minutes=30)


async def build_year(settings: Settings, year: int) -> dict[str, Any]:
    """Build the marts of a year and run the tests across its partitions (dbt's tag `yearly`).

    Returns:
        `months`, `rows` (in the marts of the year), `tests`.

    Raises:
        ModelError, DataTestError: the marts stay as they were.
        WarehouseUnavailableError: likewise.
    """
    # A run that died leaves its lock with its connection; a new one never meets its tables.
    suffix = f"y{year}{secrets.token_hex(4)}"
    warehouse = Warehouse(settings)
    options = build_options(_TIME_LIMIT)
    async with warehouse.connect(application_name(suffix), options) as connection:
        await ensure_ready(settings, connection, None)
        try:
            async with connection.transaction():
                # Partitions that are being published are few, and each is soon done.
                await connection.execute("set local lock_timeout = 0")
                await connection.execute("select pg_advisory_xact_lock(%s, %s)", (YEAR_LOCK, year))
                await connection.execute("set local lock_timeout = '10s'")
                results = await asyncio.to_thread(
                    dbt.run,
                    settings,
                    ["build"],
                    {
                        "QUICKSILVER_BUILD": suffix,
                        "QUICKSILVER_BUILD_YEAR": str(year),
                        "QUICKSILVER_APPLICATION": application_name(suffix),
                    },
                    select="tag:yearly",
                )
                await refuse_failures(connection, results, settings.failed_rows)
                rows = 0
                for table in sorted(scratch_tables(settings, results, suffix)):
                    columns = (await columns_of(connection, [table.source_name]))[table.source_name]
                    await adopt_plain(connection, (table.schema, table.name), columns)
                    await make_table(connection, table.schema, table.name, columns)
                    await connection.execute(
                        sql.SQL("delete from {} where year = %s").format(table.parent), (year,)
                    )
                    listed = sql.SQL(", ").join(map(sql.Identifier, columns))
                    inserted = await connection.execute(
                        sql.SQL("insert into {} ({}) select {} from {}").format(
                            table.parent, listed, listed, table.source
                        )
                    )
                    rows += inserted.rowcount
                months = await (
                    await connection.execute(
                        "select count(*) as months from quicksilver.fence"
                        " where published_build is not null and dt >= %s and dt < %s",
                        (date(year, 1, 1), date(year + 1, 1, 1)),
                    )
                ).fetchone()
        finally:
            if not connection.broken:
                await drop_scratch(
                    connection, settings.scratch_schema, dbt_project.scratch_names(), suffix
                )
    return {
        "months": months["months"] if months else 0,
        "rows": rows,
        "tests": sum(result.kind == "test" for result in results),
    }
