"""The warehouse before its first build: every table there, empty, so that a reader finds it."""

import asyncio
from collections.abc import Sequence
from typing import Any

from quicksilver.build import dbt, dbt_project
from quicksilver.build.inputs import shared_model_problems
from quicksilver.build.layout import declared_columns, declared_types
from quicksilver.domain.datasets import Dataset, Datasets
from quicksilver.errors import ModelError
from quicksilver.settings import Settings
from quicksilver.support.statements import statement
from quicksilver.warehouse.connection import Warehouse
from quicksilver.warehouse.cut import Cut, cut_of
from quicksilver.warehouse.locks import retry_while_others_work
from quicksilver.warehouse.ownership import (
    Relation,
    adopt_plain,
    adopt_seeds,
    refuse_foreign_tables,
    register_tables,
)
from quicksilver.warehouse.scratch import drop_dead_scratch
from quicksilver.warehouse.session import Connection
from quicksilver.warehouse.tables import exists, make_table

# Two processes load the seeds once; the lock is held for a second.
_SEED_LOCK = 0x51_53_53_44


async def ensure_warehouse(settings: Settings, datasets: Datasets) -> None:
    """Create what the declared datasets need: schemas, the fence, their bronze tables, the models
    downstream of those, and the seeds that these read.

    Changes nothing that is there, but for scratch tables of builds that died; safe when two do it
    at once. Parses the dbt project, which later builds find done.

    Raises:
        WarehouseUnavailableError: Postgres does not answer.
        NotOursError: a schema or table was there before; none was changed.
        ModelError: the dbt project does not parse.
    """
    warehouse = Warehouse(settings)
    await warehouse.ensure()
    await asyncio.to_thread(dbt_project.manifest)
    for problem in shared_model_problems(datasets):
        raise ModelError(problem)
    wanted: dict[Relation, tuple[dict[str, str], Cut | None]] = {}
    seeds: dict[str, Any] = {}
    for dataset in datasets.datasets:
        if not dataset.bronze_table:
            continue
        schema, _, name = dataset.bronze_table.partition(".")
        cut = cut_of(dataset)
        wanted[schema, name] = (cut.columns | declared_types(declared_columns(dataset)), cut)
        for node in dbt_project.downstream(dataset.bronze_table):
            if dbt_project.is_published(node) and node.columns:
                columns = {name: column.data_type for name, column in node.columns.items()}
                is_yearly = "yearly" in node.tags
                wanted[node.schema, node.alias] = (
                    columns if is_yearly else columns | {cut.column: cut.sql_type},
                    None if is_yearly else cut,
                )
        seeds |= {seed.unique_id: seed for seed in _seeds_of(dataset)}
    async with warehouse.connect() as connection:
        for relation, (columns, cut) in wanted.items():
            if cut is None:
                await adopt_plain(connection, relation, columns)
        await refuse_foreign_tables(connection, list(wanted))
        for (schema, name), (columns, cut) in wanted.items():
            await make_table(connection, schema, name, columns, by=cut)
        await _ensure_seeds(settings, connection, list(seeds.values()))
        await drop_dead_scratch(connection, settings.scratch_schema)


async def ensure_ready(settings: Settings, connection: Connection, dataset: Dataset | None) -> None:
    """What a build needs of the above and does not make itself; two queries when it is there.

    `dataset`: whose models are built; None: any of the project.

    Raises:
        WarehouseUnavailableError, NotOursError, ModelError.
    """
    if not await exists(connection, "quicksilver", "seed"):
        await Warehouse(settings).ensure()
    await _ensure_seeds(settings, connection, _seeds_of(dataset))


def _seeds_of(dataset: Dataset | None) -> list[Any]:
    """The seeds that a dataset's models read; all of them, where only dbt knows its models."""
    if dataset is None or dataset.select:
        return dbt_project.seeds()
    return dbt_project.seeds_above(dbt_project.downstream(dataset.bronze_table))


async def _ensure_seeds(settings: Settings, connection: Connection, seeds: Sequence[Any]) -> None:
    """Load those of dbt's seeds of which this version is not loaded.

    Raises:
        ModelError: a seed does not load.
        NotOursError: somebody else made a table of a seed's name.
    """
    if not await _missing(connection, seeds):
        return
    await _lock_seeds(connection)
    try:
        missing = await _missing(connection, seeds)
        if not missing:
            return
        relations = [(seed.schema, seed.alias) for seed in missing]
        if await exists(connection, "quicksilver", "seeded"):
            # An earlier version loaded all seeds of the project, and kept no list.
            await adopt_seeds(connection, relations)
        await refuse_foreign_tables(connection, relations)
        names = " ".join(seed.name for seed in missing)
        results = await asyncio.to_thread(dbt.run, settings, ["seed"], {}, select=names)
        for result in results:
            if not result.ok:
                raise ModelError(f"dbt seed {result.name}: {' '.join(result.message.split())}")
        await register_tables(connection, relations)
        await connection.execute(
            statement("note_seeds"),
            {"names": [seed.name for seed in missing], "version": dbt_project.seeds_version()},
        )
    finally:
        await connection.execute("select pg_advisory_unlock(%s)", (_SEED_LOCK,))


@retry_while_others_work
async def _lock_seeds(connection: Connection) -> None:
    await connection.execute("select pg_advisory_lock(%s)", (_SEED_LOCK,))


async def _missing(connection: Connection, seeds: Sequence[Any]) -> list[Any]:
    if not seeds:
        return []
    found = await connection.execute(
        statement("loaded_seeds"), {"version": dbt_project.seeds_version()}
    )
    loaded = {row["name"] for row in await found.fetchall()}
    return [seed for seed in seeds if seed.name not in loaded]
