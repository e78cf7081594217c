"""The models of a build: dbt makes scratch tables and tests them before anybody reads them."""

import asyncio
import json
from collections.abc import Mapping, Sequence

from psycopg import sql

from quicksilver.build import dbt
from quicksilver.build.dbt_project import downstream, is_published
from quicksilver.domain.datasets import Dataset
from quicksilver.errors import DataTestError, ModelError, WarehouseLockedError
from quicksilver.settings import Settings
from quicksilver.warehouse.cut import Cut
from quicksilver.warehouse.locks import is_transient_text
from quicksilver.warehouse.scratch import ScratchPartition
from quicksilver.warehouse.session import Connection, application_name
from quicksilver.warehouse.tables import Table

# Before each next try, seconds: a deadlock or a lock of somebody's `dbt run` is over soon.
# Characters of a value that is shown: enough to find its row by.
_CELL = 200

_PAUSES = (0.2, 1, 5, 15, 0)


async def run_models(
    settings: Settings,
    dataset: Dataset,
    cut: Cut,
    worker: int,
    partitions: Sequence[ScratchPartition],
    *,
    is_shared: bool,
) -> list[dbt.NodeResult]:
    """Run and test the dataset's models in scratch tables named after `worker`.

    `is_shared`: each model's table is cut into one for each partition; else it is the table of the
    only one.

    Raises:
        ModelError: dbt did not get as far as its nodes.
        WarehouseLockedError: other sessions came between each try.
    """
    environment = {
        "QUICKSILVER_BUILD": str(worker),
        "QUICKSILVER_BUILD_SOURCE": dataset.bronze_table,
        "QUICKSILVER_BUILD_PARTITIONS": json.dumps(
            {
                "column": cut.column,
                "type": cut.sql_type,
                "is_shared": is_shared,
                "partitions": [
                    {
                        "value": str(one.value),
                        "tag": one.tag,
                        "dt": one.day.isoformat() if one.day else None,
                        "unlogged": one.unlogged,
                    }
                    for one in partitions
                ],
            }
        ),
        "QUICKSILVER_APPLICATION": application_name(worker),
    }
    results: list[dbt.NodeResult] = []
    for pause in _PAUSES:
        results = await asyncio.to_thread(
            dbt.run,
            settings,
            ["build"],
            environment,
            select=selection(dataset),
            exclude="resource_type:unit_test resource_type:exposure tag:yearly",
            time_limit=dataset.time_limit,
        )
        if not any(_is_others_fault(result) for result in results):
            return results
        await asyncio.sleep(pause)
    busy = next(result for result in results if _is_others_fault(result))
    raise WarehouseLockedError(
        f"dbt {busy.kind} {busy.name} met another session's work {len(_PAUSES)} times:"
        f" {' '.join(busy.message.split())}"
    )


def _is_others_fault(result: dbt.NodeResult) -> bool:
    return result.status in ("error", "runtime error") and is_transient_text(result.message)


def can_share(dataset: Dataset, cut: Cut) -> bool:
    """Whether the dataset's models keep partitions apart, so that one dbt may make several."""
    published = filter(is_published, downstream(dataset.bronze_table))
    return all(
        cut.column in node.columns and node.config.contract.enforced
        for node in published
        if "yearly" not in node.tags
    )


def selection(dataset: Dataset) -> str:
    """The models of a dataset, as dbt's `--select` takes them."""
    return dataset.select or f"source:{dataset.bronze_table}+"


def scratch_tables(
    settings: Settings, results: Sequence[dbt.NodeResult], suffix: int | str
) -> list[Table]:
    """The tables that a run of dbt made to be published."""
    return [
        Table(node.schema, node.name, settings.scratch_schema, f"{node.name}__{suffix}")
        for node in results
        if node.is_published
    ]


async def refuse_failures(
    connection: Connection, results: Sequence[dbt.NodeResult], shown: int
) -> None:
    """Raise for the first model or test that failed, with up to `shown` rows that show why.

    Raises:
        ModelError, DataTestError.
    """
    for result in results:
        if result.status in ("error", "runtime error"):
            raise ModelError(f"dbt {result.kind} {result.name}: {' '.join(result.message.split())}")
    for result in results:
        if result.status == "fail":
            rows = await _offending(connection, result, shown) if shown else []
            raise DataTestError(
                f"dbt test {result.name} failed with {result.rows} rows; silver stays as it was",
                rows,
            )


async def _offending(
    connection: Connection, result: dbt.NodeResult, limit: int
) -> list[Mapping[str, str]]:
    query = sql.SQL("select * from ({}) as failed limit {}").format(
        sql.SQL(result.compiled),  # pyright: ignore[reportArgumentType]
        limit,
    )
    return [
        {name: str(value)[:_CELL] for name, value in row.items()}
        for row in await (await connection.execute(query)).fetchall()
    ]
