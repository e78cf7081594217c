"""The warehouse before its first build: every table there, empty, so that a reader finds it."""

import asyncio
from typing import Any

from quicksilver.build import dbt, dbt_project
from quicksilver.build.layout import declared_columns, declared_types
from quicksilver.domain.datasets import Datasets
from quicksilver.errors import ModelError
from quicksilver.settings import Settings
from quicksilver.warehouse.connection import Connection, Warehouse
from quicksilver.warehouse.scratch import drop_dead_scratch
from quicksilver.warehouse.tables import create_parent, exists, make_table

# Two processes load the seeds once; the lock is held for a second.
_SEED_LOCK = 0x51_53_53_44


async def ensure_warehouse(settings: Settings, datasets: Datasets) -> None:
    """Create schemas, the fence, bronze's tables and those of dbt's models, and load dbt's seeds.

    Changes nothing that is there, but for scratch tables of builds that died; safe when two do it
    at once. Parses the dbt project, which later builds find done.

    Raises:
        WarehouseUnavailableError: Postgres does not answer.
        ModelError: the dbt project does not parse.
    """
    warehouse = Warehouse(settings)
    await warehouse.ensure()
    parsed = await asyncio.to_thread(dbt_project.manifest)
    async with warehouse.connect() as connection:
        for dataset in datasets.datasets:
            if dataset.bronze_table:
                schema, _, name = dataset.bronze_table.partition(".")
                columns = {"dt": "date"} | declared_types(declared_columns(dataset))
                await create_parent(connection, schema, name, columns)
        nodes: list[Any] = list(parsed.nodes.values())
        for node in nodes:
            if not dbt_project.is_published(node) or not node.columns:
                continue
            columns = {name: column.data_type for name, column in node.columns.items()}
            if "dt" in columns:
                await create_parent(connection, node.schema, node.alias, columns)
            else:
                await make_table(connection, node.schema, node.alias, columns)
        await ensure_seeds(settings, connection)
        await drop_dead_scratch(connection)


async def ensure_ready(settings: Settings, connection: Connection) -> None:
    """What a build needs of the above and does not make itself; two queries when it is there.

    Raises:
        WarehouseUnavailableError, ModelError.
    """
    if not await exists(connection, "quicksilver", "seeded"):
        await Warehouse(settings).ensure()
    await ensure_seeds(settings, connection)


async def ensure_seeds(settings: Settings, connection: Connection) -> None:
    """Load dbt's seeds, unless this version of them is loaded.

    Raises:
        ModelError: a seed does not load.
    """
    if await _seeded(connection):
        return
    await connection.execute("select pg_advisory_lock(%s)", (_SEED_LOCK,))
    try:
        if await _seeded(connection):
            return
        results = await asyncio.to_thread(dbt.run, settings, ["seed"], {}, select="*")
        for result in results:
            if not result.ok:
                raise ModelError(f"dbt seed {result.name}: {' '.join(result.message.split())}")
        await connection.execute(
            "insert into quicksilver.seeded (version) values (%s)"
            " on conflict (is_only) do update set version = excluded.version, seeded_at = now()",
            (dbt_project.seeds_version(),),
        )
    finally:
        await connection.execute("select pg_advisory_unlock(%s)", (_SEED_LOCK,))


async def _seeded(connection: Connection) -> bool:
    found = await connection.execute(
        "select 1 from quicksilver.seeded where version = %s", (dbt_project.seeds_version(),)
    )
    return await found.fetchone() is not None
