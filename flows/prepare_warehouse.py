"""The warehouse before its first build: every table there, empty, so that a reader finds it."""

from typing import Any

from flows import dbt_runner
from flows.layout import declared_columns, declared_types
from flows.publish import create_parent, make_table
from service.datasets import Datasets
from service.settings import Settings
from service.warehouse import Warehouse


async def ensure_warehouse(settings: Settings, datasets: Datasets) -> None:
    """Create schemas, the fence, bronze's tables and those of dbt's models, and load dbt's seeds.

    Changes nothing that is there; safe when two do it at once. Parses the dbt project, which later
    builds find done.

    Raises:
        WarehouseUnavailableError: Postgres does not answer.
        ModelError: the dbt project does not parse.
    """
    warehouse = Warehouse(settings)
    await warehouse.ensure()
    async with warehouse.connect() as connection:
        for dataset in datasets.datasets:
            if dataset.bronze_table:
                schema, _, name = dataset.bronze_table.partition(".")
                columns = {"dt": "date"} | declared_types(declared_columns(dataset))
                await create_parent(connection, schema, name, columns)
        nodes: list[Any] = list(dbt_runner.manifest().nodes.values())
        for node in nodes:
            if not dbt_runner.is_published(node) or not node.columns:
                continue
            columns = {name: column.data_type for name, column in node.columns.items()}
            if "dt" in columns:
                await create_parent(connection, node.schema, node.alias, columns)
            else:
                await make_table(connection, node.schema, node.alias, columns)
