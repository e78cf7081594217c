"""Build one partition: write, audit, publish.

What lands is loaded into a scratch table of the build, dbt makes scratch tables from it and tests
them, and one transaction makes all of them the partition. Until then nobody sees any of it; a
build that dies, fails or is given up at any point leaves the partition as it was.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from typing import Any

from psycopg import sql

from quicksilver.build import dbt, dbt_project
from quicksilver.build.counts import is_silver, rows_rejected
from quicksilver.build.load import bronze_columns, create_scratch, load, open_files, scratch_prefix
from quicksilver.build.prepare import ensure_ready
from quicksilver.build.volume import volume_warnings
from quicksilver.domain.datasets import Dataset
from quicksilver.domain.manifest import ManifestFile
from quicksilver.domain.partition import Partition
from quicksilver.errors import DataTestError, ModelError
from quicksilver.lake.bronze import minio_client
from quicksilver.settings import Settings
from quicksilver.support import clock, failpoint
from quicksilver.warehouse.connection import (
    Connection,
    Warehouse,
    application_name,
    end_sessions,
    scratch_url,
)
from quicksilver.warehouse.fence import take
from quicksilver.warehouse.publish import Counts, publish
from quicksilver.warehouse.scratch import batch_suffix, drop_scratch
from quicksilver.warehouse.tables import Table, columns_of, create_parent, ensure_columns, exists


@dataclass(frozen=True, slots=True)
class BuildResult:
    """What a build published; seconds in `timings`."""

    rows_bronze: int
    rows_silver: int
    rows_rejected: int
    rejected_by_reason: dict[str, int]
    timings: dict[str, float]
    new_columns: list[str]
    dbt: list[dbt.NodeResult]
    loaded_at: datetime
    warnings: list[str] = field(default_factory=list)
    # How many partitions the timings and dbt's results are of.
    together: int = 1

    def details(self) -> dict[str, Any]:
        """For the ledger: everything but the counts, as JSON takes it."""
        return {
            "rejected_by_reason": self.rejected_by_reason,
            "timings": self.timings,
            "together": self.together,
            "new_columns": self.new_columns,
            "warnings": self.warnings,
            "dbt": [
                {
                    k: v
                    for k, v in asdict(node).items()
                    if k in ("name", "kind", "status", "seconds", "rows")
                }
                for node in self.dbt
            ],
        }


class Stopwatch:
    """Seconds of each step, and of all."""

    def __init__(self) -> None:
        self.timings: dict[str, float] = {}
        self._start = self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """A step is over."""
        now = time.perf_counter()
        self.timings[name] = round(now - self._last, 4)
        self.timings["total"] = round(now - self._start, 4)
        self._last = now


async def build_partition(
    settings: Settings,
    dataset: Dataset,
    dt: date,
    build_id: int,
    generation: int,
    manifest: Sequence[ManifestFile],
) -> BuildResult:
    """Bring one partition of the warehouse to what the manifest names.

    An empty manifest makes the partition empty. One build at a time in a process.

    Raises:
        FencedError: a newer build holds the partition, or this one was given up.
        ManifestChangedError: an object is no longer the one that was listed.
        BronzeFileError: a file is unreadable, or lacks or retypes a required column.
        BronzeUnavailableError, WarehouseUnavailableError: what passes by itself.
        ModelError, DataTestError: dbt; silver is as it was.
    """
    watch = Stopwatch()
    partition = Partition.of_day(dataset.name, dt)
    warehouse = Warehouse(settings)
    async with warehouse.connect(application_name(build_id)) as connection:
        await ensure_ready(settings, connection)
        # Publishing turns it on again: before that, nothing is worth a wait for the disk.
        await connection.execute("set synchronous_commit = off")
        names = [scratch_prefix(dataset), *dbt_project.scratch_names()]
        await acquire_fence(connection, partition, build_id, names)
        watch.lap("begin")
        try:
            return await build_taken(
                settings, connection, dataset, partition, build_id, generation, manifest, watch
            )
        finally:
            if not connection.broken:
                await drop_scratch(connection, names, build_id)


async def acquire_fence(
    connection: Connection,
    partition: Partition,
    build_id: int,
    names: Sequence[str],
    worker: int | None = None,
) -> None:
    """Take the fence, and end and remove what the build that held it before has left.

    `names`: the tables that builds make scratch tables of; `worker` as `take` has it.

    Raises:
        FencedError: a newer build holds the partition, or this one was given up.
    """
    taken = await take(connection, partition, build_id, worker)
    if taken.previous is None:
        return
    before = taken.previous_worker
    await end_sessions(connection, taken.previous, before)
    await drop_scratch(connection, names, taken.previous)
    if before is not None:
        await drop_scratch(connection, names, before, batch_suffix(before, partition.dt))


async def build_taken(
    settings: Settings,
    connection: Connection,
    dataset: Dataset,
    partition: Partition,
    build_id: int,
    generation: int,
    manifest: Sequence[ManifestFile],
    watch: Stopwatch,
) -> BuildResult:
    """Build a partition whose fence is taken; as `build_partition` in all else."""
    schema, _, name = dataset.bronze_table.partition(".")
    bronze = Table(schema, name, f"{scratch_prefix(dataset)}__{build_id}")
    present = (await columns_of(connection, [dataset.bronze_table])).get(dataset.bronze_table, {})
    # Only what is not there yet can be attached, and only what is attached must survive a crash.
    unlogged = await exists(connection, "partitions", bronze.child(partition.dt))
    client = minio_client(settings)
    files = await asyncio.to_thread(open_files, client, dataset, manifest, present)
    columns = bronze_columns(dataset, files, present)
    await create_scratch(connection, bronze.scratch, columns, partition.dt, unlogged=unlogged)
    watch.lap("open")
    loaded = await asyncio.to_thread(
        load,
        scratch_url(settings.warehouse_url.get_secret_value(), build_id),
        bronze.scratch,
        files,
    )
    loaded_at = clock.now()
    watch.lap("load")
    failpoint.reach("between-load-and-dbt")
    if not present:
        await create_parent(connection, schema, name, columns)
    results = await asyncio.to_thread(
        dbt.run,
        settings,
        ["build"],
        {
            "QUICKSILVER_BUILD": str(build_id),
            "QUICKSILVER_BUILD_DT": partition.dt.isoformat(),
            "QUICKSILVER_BUILD_SOURCE": dataset.bronze_table,
            "QUICKSILVER_BUILD_UNLOGGED": "1" if unlogged else "0",
            "QUICKSILVER_APPLICATION": application_name(build_id),
        },
        select=dataset.select or f"source:{dataset.bronze_table}+",
        exclude="resource_type:unit_test resource_type:exposure tag:yearly",
    )
    watch.lap("dbt")
    await refuse_failures(connection, results)
    tables = [bronze, *scratch_tables(results, build_id)]
    rejected = (await rows_rejected(connection, tables)).get(partition.dt, {})
    silver = sum(
        result.rows
        for result in results
        for table in tables
        if table.scratch == f"{result.name}__{build_id}" and is_silver(table)
    )
    counts = Counts(loaded.rows, silver, sum(rejected.values()))
    await ensure_columns(connection, tables)
    result = BuildResult(
        rows_bronze=counts.bronze,
        rows_silver=counts.silver,
        rows_rejected=counts.rejected,
        rejected_by_reason=rejected,
        timings=watch.timings,
        # In a table that has none yet, every column is new, and that is no news.
        new_columns=list(loaded.new_columns) if len(present) > 1 else [],
        dbt=results,
        loaded_at=loaded_at,
        # What was emptied on purpose has no usual size.
        warnings=await volume_warnings(connection, partition, counts) if manifest else [],
    )
    await publish(
        connection,
        partition,
        build_id,
        generation,
        tables,
        counts,
        unlogged=unlogged,
        loaded_at=loaded_at,
        details=result.details(),
    )
    watch.lap("publish")
    return result


def scratch_tables(results: Sequence[dbt.NodeResult], suffix: int | str) -> list[Table]:
    """The tables that a run of dbt made to be published."""
    return [
        Table(node.schema, node.name, f"{node.name}__{suffix}")
        for node in results
        if node.is_published
    ]


async def refuse_failures(connection: Connection, results: Sequence[dbt.NodeResult]) -> None:
    """Raise for the first model or test that failed, with rows that show why.

    Raises:
        ModelError, DataTestError.
    """
    for result in results:
        if result.status in ("error", "runtime error"):
            raise ModelError(f"dbt {result.kind} {result.name}: {' '.join(result.message.split())}")
    for result in results:
        if result.status == "fail":
            rows = await _offending(connection, result)
            shown = "".join(f"\n  {row}" for row in rows)
            raise DataTestError(
                f"dbt test {result.name} failed with {result.rows} rows; silver stays as it was."
                f" Up to five of them:{shown}"
            )


async def _offending(connection: Connection, result: dbt.NodeResult) -> list[Mapping[str, Any]]:
    query = sql.SQL("select * from ({}) as failed limit 5").format(sql.SQL(result.compiled))  # pyright: ignore[reportArgumentType]
    return [
        {name: str(value) for name, value in row.items()}
        for row in await (await connection.execute(query)).fetchall()
    ]
