"""What the warehouse really holds of a dataset, partition by partition: for comparing it with the
ledger, which believes what builds once said."""

from dataclasses import dataclass

from psycopg import sql

from quicksilver.domain.datasets import Dataset
from quicksilver.domain.partition import Partition
from quicksilver.support.statements import statement
from quicksilver.warehouse.cut import KeyValue, cut_of
from quicksilver.warehouse.ownership import CHILDREN
from quicksilver.warehouse.session import Connection
from quicksilver.warehouse.tables import Table, columns_of


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one partition."""

    bronze: int
    silver: int
    rejected: int


@dataclass(frozen=True, slots=True)
class Holding:
    """A partition that a build has published.

    `published` is what that build said (None: its publication was pruned), `missing` are the tables
    that held rows of it then and hold none now, `counted` is what is there, where it was counted.
    """

    partition: Partition
    build_id: int
    generation: int
    published: Rows | None
    missing: tuple[str, ...]
    counted: Rows | None

    @property
    def is_whole(self) -> bool:
        """Whether what was published is still there, as far as was looked."""
        same = self.counted is None or self.published is None or self.counted == self.published
        return not self.missing and same


async def holdings(
    connection: Connection, dataset: Dataset, *, exact: bool = False
) -> list[Holding]:
    """Every published partition of a dataset.

    Sees a table that was dropped, truncated or restored from an older backup by the size of its
    files, without reading a row; `exact` counts the rows of bronze and silver, and needs the right
    to read them.
    """
    cut = cut_of(dataset)
    key = {"dataset": dataset.name, "children": CHILDREN}
    rows = await (await connection.execute(statement("holdings"), key)).fetchall()
    counted = await _counted(connection, dataset) if exact else {}
    bronze = Table(*_split(dataset.bronze_table), "", "") if dataset.bronze_table else None
    untold: dict[str, Partition] = {}
    found: list[Holding] = []
    for row in rows:
        partition = Partition(dataset.name, row["partition"], row["dt"])
        if bronze is not None and not row["is_told"] and row["rows_bronze"]:
            # Published by a version that kept no list of tables: bronze alone is known by name.
            untold[bronze.child(cut.tag(partition))] = partition
        published = (
            None
            if row["rows_bronze"] is None
            else Rows(row["rows_bronze"], row["rows_silver"], row["rows_rejected"])
        )
        found.append(
            Holding(
                partition,
                row["build_id"],
                row["generation"],
                published,
                tuple(row["missing"]),
                counted.get(cut.value(partition), Rows(0, 0, 0)) if exact else None,
            )
        )
    if not untold:
        return found
    there = await connection.execute(
        statement("filled_children"), {"names": list(untold), "children": CHILDREN}
    )
    filled = {row["name"] for row in await there.fetchall()}
    gone = {partition for name, partition in untold.items() if name not in filled}
    return [_without_bronze(one, dataset) if one.partition in gone else one for one in found]


def _without_bronze(holding: Holding, dataset: Dataset) -> Holding:
    return Holding(
        holding.partition,
        holding.build_id,
        holding.generation,
        holding.published,
        (dataset.bronze_table,),
        holding.counted,
    )


async def _counted(connection: Connection, dataset: Dataset) -> dict[KeyValue, Rows]:
    """Rows of bronze, silver and rejected that are there, by the cut's value of each partition."""
    cut = cut_of(dataset)
    found = await connection.execute(statement("tables_of"), {"dataset": dataset.name})
    names = {f"{row['schema_name']}.{row['table_name']}" for row in await found.fetchall()}
    names.add(dataset.bronze_table)
    counts: dict[KeyValue, dict[str, int]] = {}
    for name in await columns_of(connection, sorted(names)):
        schema, table = _split(name)
        if name == dataset.bronze_table:
            kind = "bronze"
        elif schema == "silver":
            kind = "rejected" if table.endswith("_rejected") else "silver"
        else:
            continue
        query = sql.SQL("select {key} as value, count(*) as rows from {at} group by {key}").format(
            key=sql.Identifier(cut.column), at=sql.Identifier(schema, table)
        )
        for row in await (await connection.execute(query)).fetchall():
            of = counts.setdefault(row["value"], {"bronze": 0, "silver": 0, "rejected": 0})
            of[kind] += row["rows"]
    return {value: Rows(**of) for value, of in counts.items()}


def _split(relation: str) -> tuple[str, str]:
    schema, _, name = relation.partition(".")
    return schema, name
