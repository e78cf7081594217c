"""Build several partitions of a dataset at once: one dbt for all, a commit for each.

Each partition is loaded into a scratch table of its own, dbt makes and tests the models of all of
them together, and Postgres sorts the rows into one scratch table a partition and model. From there
on each is published as a single build's is. What cannot be loaded drops out by itself; when dbt
finds fault with any of them, they are built one by one, so that it hits the one at fault only.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TypeAlias

from psycopg import sql

from quicksilver.build import dbt, dbt_project
from quicksilver.build.counts import rows_of_silver, rows_rejected
from quicksilver.build.load import (
    Loaded,
    OpenFile,
    bronze_columns,
    create_scratch_parent,
    load_each,
    open_files,
    scratch_prefix,
)
from quicksilver.build.partition import (
    BuildResult,
    Stopwatch,
    acquire_fence,
    build_taken,
    refuse_failures,
    scratch_tables,
)
from quicksilver.build.prepare import ensure_ready
from quicksilver.build.volume import volume_warnings
from quicksilver.domain.datasets import Dataset
from quicksilver.errors import DataTestError, ModelError, QuicksilverError
from quicksilver.lake.bronze import minio_client
from quicksilver.ledger.rows import BegunBuild
from quicksilver.settings import Settings
from quicksilver.support import clock, failpoint, tracing
from quicksilver.warehouse.connection import Connection, Warehouse, application_name, scratch_url
from quicksilver.warehouse.publish import Counts, publish
from quicksilver.warehouse.scratch import batch_suffix, drop_scratch
from quicksilver.warehouse.tables import Table, columns_of, create_parent, ensure_columns, exists

BuildOutcome: TypeAlias = BuildResult | QuicksilverError
Tell: TypeAlias = Callable[[BegunBuild, BuildOutcome], Awaitable[None]]


@dataclass(slots=True)
class _Member:
    """A build of the batch: whether its partition was there before, its files, what was loaded."""

    build: BegunBuild
    unlogged: bool
    files: list[OpenFile]
    loaded: Loaded

    @property
    def dt(self) -> date:
        return self.build.partition.dt


async def build_batch(
    settings: Settings, dataset: Dataset, builds: Sequence[BegunBuild], tell: Tell
) -> None:
    """Bring each build's partition to what its manifest names; `tell` how each one ended, at once.

    Sessions and scratch tables go by the first build's id. One batch at a time in a process.

    Raises:
        WarehouseUnavailableError: nothing more can be done for those that were not told of.
    """
    batch = _Batch(settings, dataset, builds[0].id, tell)
    async with Warehouse(settings).connect(application_name(batch.worker)) as connection:
        await ensure_ready(settings, connection)
        # Publishing turns it on again, as in a build of one.
        await connection.execute("set synchronous_commit = off")
        try:
            taken = await batch.take(connection, builds)
            members = await batch.load(connection, taken)
            tables = await batch.build(connection, members) if members else None
            if tables is not None:
                await batch.publish(connection, members, tables)
                return
        finally:
            if not connection.broken:
                # Those of a partition that were detached stand alone; all others go with theirs.
                alone = (batch_suffix(batch.worker, build.partition.dt) for build in builds)
                await drop_scratch(connection, batch.names, batch.worker, *alone)
        await batch.build_singly(connection, members)


class _Batch:
    """The steps of a batch; `worker` is the build by whose id sessions and scratch tables go."""

    def __init__(self, settings: Settings, dataset: Dataset, worker: int, tell: Tell) -> None:
        self.settings = settings
        self.dataset = dataset
        self.worker = worker
        self.tell = tell
        self.watch = Stopwatch()
        self.schema, _, self.name = dataset.bronze_table.partition(".")
        self.names = [scratch_prefix(dataset), *dbt_project.scratch_names()]
        self.results: list[dbt.NodeResult] = []
        self.present: dict[str, str] = {}

    async def take(self, connection: Connection, builds: Sequence[BegunBuild]) -> list[BegunBuild]:
        """The builds that got their fence."""
        taken: list[BegunBuild] = []
        for build in builds:
            try:
                await acquire_fence(connection, build.partition, build.id, self.names, self.worker)
            except QuicksilverError as error:
                await self.tell(build, error)
            else:
                taken.append(build)
        self.watch.lap("begin")
        return taken

    async def load(self, connection: Connection, builds: Sequence[BegunBuild]) -> list[_Member]:
        """Load what can be read; a column that one file brings is there for all."""
        bronze = self.dataset.bronze_table
        self.present = (await columns_of(connection, [bronze])).get(bronze, {})
        client = minio_client(self.settings)
        known = dict(self.present)
        members: list[_Member] = []
        for build in builds:
            try:
                files = await asyncio.to_thread(
                    open_files, client, self.dataset, build.manifest, known
                )
            except QuicksilverError as error:
                await self.tell(build, error)
                continue
            known.update({at.name: at.sql_type for file in files for at in file.plan.landings})
            child = self._bronze(self.worker).child(build.partition.dt)
            unlogged = await exists(connection, "partitions", child)
            members.append(_Member(build, unlogged, files, Loaded(0, ())))
        if not members:
            return []
        columns = bronze_columns(
            self.dataset, [file for member in members for file in member.files], self.present
        )
        scratch = self._bronze(self.worker).scratch
        await create_scratch_parent(
            connection, scratch, columns, {member.dt: member.unlogged for member in members}
        )
        self.watch.lap("open")
        done = await asyncio.to_thread(
            load_each,
            scratch_url(self.settings.warehouse_url.get_secret_value(), self.worker),
            {batch_suffix(scratch, member.dt): member.files for member in members},
        )
        loaded: list[_Member] = []
        for member in members:
            outcome = done[batch_suffix(scratch, member.dt)]
            if isinstance(outcome, QuicksilverError):
                await self.tell(member.build, outcome)
            else:
                member.loaded = outcome
                loaded.append(member)
        self.watch.lap("load")
        failpoint.reach("between-load-and-dbt")
        if not self.present:
            await create_parent(connection, self.schema, self.name, columns)
        return loaded

    async def build(self, connection: Connection, members: Sequence[_Member]) -> list[Table] | None:
        """The tables that dbt made, all partitions in each; None: it found fault with some."""
        try:
            self.results = await asyncio.to_thread(
                dbt.run,
                self.settings,
                ["build"],
                {
                    "QUICKSILVER_BUILD": str(self.worker),
                    "QUICKSILVER_BUILD_PARTITIONS": json.dumps(
                        [{"dt": m.dt.isoformat(), "unlogged": m.unlogged} for m in members]
                    ),
                    "QUICKSILVER_BUILD_SOURCE": self.dataset.bronze_table,
                    "QUICKSILVER_APPLICATION": application_name(self.worker),
                },
                select=self.dataset.select or f"source:{self.dataset.bronze_table}+",
                exclude="resource_type:unit_test resource_type:exposure tag:yearly",
            )
            await refuse_failures(connection, self.results)
            tables = [self._bronze(self.worker), *scratch_tables(self.results, self.worker)]
            await ensure_columns(connection, tables)
        except (ModelError, DataTestError):
            return None
        finally:
            self.watch.lap("dbt")
        return tables

    async def publish(
        self, connection: Connection, members: Sequence[_Member], tables: Sequence[Table]
    ) -> None:
        """Each partition by itself, as a build of one does."""
        silver = await rows_of_silver(connection, tables)
        rejected = await rows_rejected(connection, tables)
        loaded_at = clock.now()
        for member in members:
            build, dt = member.build, member.dt
            names = {"dataset": self.dataset.name, "dt": dt, "build": build.id}
            with tracing.span("silver-build", parent=build.traceparent, kind="consumer", **names):
                reasons = rejected.get(dt, {})
                counts = Counts(member.loaded.rows, silver.get(dt, 0), sum(reasons.values()))
                result = BuildResult(
                    rows_bronze=counts.bronze,
                    rows_silver=counts.silver,
                    rows_rejected=counts.rejected,
                    rejected_by_reason=reasons,
                    timings=dict(self.watch.timings),
                    new_columns=list(member.loaded.new_columns) if len(self.present) > 1 else [],
                    dbt=self.results,
                    loaded_at=loaded_at,
                    warnings=await volume_warnings(connection, build.partition, counts)
                    if build.manifest
                    else [],
                    together=len(members),
                )
                own = [Table(t.schema, t.name, batch_suffix(t.scratch, dt)) for t in tables]
                await _detach(connection, tables, own)
                try:
                    await publish(
                        connection,
                        build.partition,
                        build.id,
                        build.generation,
                        own,
                        counts,
                        unlogged=member.unlogged,
                        loaded_at=loaded_at,
                        details=result.details(),
                    )
                except QuicksilverError as error:
                    await self.tell(build, error)
                else:
                    await self.tell(build, result)

    async def build_singly(self, connection: Connection, members: Sequence[_Member]) -> None:
        """One after the other, each with its own dbt."""
        for member in members:
            build = member.build
            try:
                result = await build_taken(
                    self.settings,
                    connection,
                    self.dataset,
                    build.partition,
                    build.id,
                    build.generation,
                    build.manifest,
                    Stopwatch(),
                )
            except QuicksilverError as error:
                await self.tell(build, error)
            else:
                await self.tell(build, result)
            finally:
                if not connection.broken:
                    await drop_scratch(connection, self.names, build.id)

    def _bronze(self, suffix: int | str) -> Table:
        return Table(self.schema, self.name, f"{scratch_prefix(self.dataset)}__{suffix}")


async def _detach(connection: Connection, tables: Sequence[Table], own: Sequence[Table]) -> None:
    """Make a partition's scratch tables stand alone, as those of a build of one do."""
    await connection.execute(
        sql.SQL("; ").join(
            sql.SQL("alter table {} detach partition {}").format(all_.source, one.source)
            for all_, one in zip(tables, own, strict=True)
        )
    )
