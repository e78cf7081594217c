"""What a dataset's models read beside its own bronze, which other builds publish meanwhile."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from quicksilver.build import dbt_project
from quicksilver.build.dbt import NodeResult
from quicksilver.domain.datasets import Datasets
from quicksilver.support.statements import statement
from quicksilver.warehouse.ownership import Relation
from quicksilver.warehouse.session import Connection

Versions = Mapping[tuple[str, str, str], int]
"""The build that published each schema, table and partition."""


def inputs_of(results: Sequence[NodeResult], bronze_table: str) -> list[Relation]:
    """The tables that a run of dbt read, and did not make."""
    made = {result.unique_id for result in results if result.kind == "model"}
    above = dbt_project.tables_above(made)
    return sorted(relation for relation in above if ".".join(relation) != bronze_table)


async def versions(connection: Connection, partitions: Collection[str]) -> Versions:
    """Which build published each table of these partitions, as of now."""
    found = await connection.execute(statement("table_versions"), {"partitions": list(partitions)})
    return {
        (row["schema_name"], row["table_name"], row["partition"]): row["build_id"]
        for row in await found.fetchall()
    }


def shared_model_problems(datasets: Datasets) -> list[str]:
    """Models that read the bronze of several datasets which are not cut into the same partitions.

    Such a model's partition could be right for one of them only. Empty: there is none.
    """
    readers: dict[str, list[str]] = {}
    for dataset in datasets.datasets:
        if dataset.bronze_table:
            for node in dbt_project.downstream(dataset.bronze_table):
                if dbt_project.is_published(node) and "yearly" not in node.tags:
                    readers.setdefault(node.name, []).append(dataset.name)
    return [
        f"model {model} reads the bronze tables of {_and(names)}, which are not cut into the same"
        " partitions: give them one grain and the same dimensions, or give each a model of its own"
        for model, names in sorted(readers.items())
        if len({_cut(datasets, name) for name in names}) > 1
    ]


def _cut(datasets: Datasets, name: str) -> object:
    """What must be equal for two datasets to have partitions of the same names."""
    dataset = datasets.get(name)
    return dataset.each == "object" or (dataset.pattern.grain, dataset.pattern.dimensions)


def _and(names: Iterable[str]) -> str:
    return " and ".join(names)
