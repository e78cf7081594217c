"""Build partitions of a dataset: write, audit, publish.

What lands is loaded into scratch tables, dbt makes scratch tables from them and tests those, and
one transaction a partition makes all of its tables the partition. Until then nobody sees any of
it; a build that dies, fails or is given up at any point leaves its partition as it was.

Several partitions share one dbt: each has scratch tables of its own below those of them all, and
Postgres sorts the rows into them. What cannot be loaded drops out by itself; when dbt finds fault
with any of them, they are built one by one, so that it hits the one at fault only.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import psycopg
from psycopg import sql

from quicksilver.build import dbt, dbt_project
from quicksilver.build.counts import rows_of_silver, rows_rejected
from quicksilver.build.inputs import Versions, inputs_of, versions
from quicksilver.build.layout import ColumnBounds
from quicksilver.build.load import (
    Loaded,
    OpenFile,
    bronze_columns,
    load_each,
    open_files,
    scratch_prefix,
)
from quicksilver.build.models import can_share, refuse_failures, run_models, scratch_tables
from quicksilver.build.prepare import ensure_ready
from quicksilver.build.result import BuildResult, Stopwatch, Tell, Waits, waits_in_silence
from quicksilver.build.volume import volume_warnings
from quicksilver.domain.datasets import Dataset
from quicksilver.errors import (
    DataTestError,
    InputMovedError,
    ModelError,
    QuicksilverError,
    WarehouseLockedError,
)
from quicksilver.lake.bronze import minio_client
from quicksilver.ledger.rows import BegunBuild
from quicksilver.settings import Settings
from quicksilver.support import clock, failpoint, tracing
from quicksilver.warehouse.connection import Warehouse, end_sessions
from quicksilver.warehouse.cut import cut_of
from quicksilver.warehouse.fence import take
from quicksilver.warehouse.locks import is_transient, watched
from quicksilver.warehouse.ownership import CHILDREN, Relation
from quicksilver.warehouse.publish import Counts, publish
from quicksilver.warehouse.scratch import (
    ScratchPartition,
    create_scratch,
    create_shared_scratch,
    drop_scratch,
    shared_suffix,
)
from quicksilver.warehouse.session import (
    Connection,
    application_name,
    build_options,
    scratch_url,
)
from quicksilver.warehouse.tables import Table, columns_of, ensure_columns, exists

# Each try reads what the other builds had published when it began; more in a row meet none.
_TRIES = 10
# The share of a dataset's time limit for which a build waits for others' locks.
_PATIENT_FOR = 0.8


@dataclass(slots=True)
class _Member:
    """A build of the batch: its scratch tables, its files, what was loaded."""

    build: BegunBuild
    scratch: ScratchPartition
    files: list[OpenFile]
    loaded: Loaded


async def build_batch(
    settings: Settings,
    dataset: Dataset,
    builds: Sequence[BegunBuild],
    tell: Tell,
    waits: Waits = waits_in_silence,
) -> None:
    """Bring each build's partition to what its manifest names; `tell` how each one ended, at once.

    `waits` hears who keeps a build from being published, as often as it was tried. An empty
    manifest makes the partition empty. Sessions and scratch tables go by the first build's id. One
    batch at a time in a process.

    Raises:
        WarehouseUnavailableError: nothing more can be done for those that were not told of.
    """
    worker = builds[0].id
    options = build_options(dataset.time_limit)
    async with Warehouse(settings).connect(application_name(worker), options) as connection:
        watch = Stopwatch()
        await ensure_ready(settings, connection, dataset)
        # Publishing turns it on again: before that, nothing is worth a wait for the disk.
        await connection.execute("set synchronous_commit = off")
        batch = _Batch(settings, dataset, connection, worker, tell, waits)
        taken = await batch.take(builds)
        watch.lap("begin")
        is_one_go = len(taken) < 2 or can_share(dataset, batch.cut)
        for build in await batch.attempt(taken, watch) if is_one_go else taken:
            await batch.build_alone(build)


class _Batch:
    """The builds of one run; `worker` is the one by whose id sessions and scratch tables go."""

    def __init__(
        self,
        settings: Settings,
        dataset: Dataset,
        connection: Connection,
        worker: int,
        tell: Tell,
        waits: Waits,
    ) -> None:
        self.settings = settings
        self.dataset = dataset
        self.connection = connection
        self.worker = worker
        self.tell = tell
        self.waits = waits
        # What is left is for the flow to say that it could not be published.
        limit = dataset.time_limit.total_seconds()
        self.patient_until = time.monotonic() + _PATIENT_FOR * limit
        self.cut = cut_of(dataset)
        schema, _, name = dataset.bronze_table.partition(".")
        scratch = f"{scratch_prefix(dataset)}__{worker}"
        self.bronze = Table(schema, name, settings.scratch_schema, scratch)
        self.names = [scratch_prefix(dataset), *dbt_project.scratch_names()]

    async def take(self, builds: Sequence[BegunBuild]) -> list[BegunBuild]:
        """The builds that got their fence; what the build before each has left is removed."""
        taken: list[BegunBuild] = []
        for build in builds:
            try:
                grant = await take(self.connection, build.partition, build.id, self.worker)
            except QuicksilverError as error:
                await self.tell(build, error)
                continue
            taken.append(build)
            if grant.previous is None:
                continue
            await end_sessions(self.connection, grant.previous, grant.previous_worker)
            before = grant.previous_worker or grant.previous
            await self._drop(before, shared_suffix(before, self.cut.tag(build.partition)))
        return taken

    async def attempt(self, builds: Sequence[BegunBuild], watch: Stopwatch) -> list[BegunBuild]:
        """Build them with one dbt; those that must be built by themselves instead."""
        if not builds:
            return []
        run = _Attempt(self, watch, is_shared=len(builds) > 1)
        try:
            return await run.run(builds)
        finally:
            if not self.connection.broken:
                # Those of a partition that were detached stand alone; all others go with theirs.
                alone = (shared_suffix(self.worker, self.cut.tag(b.partition)) for b in builds)
                await self._drop(self.worker, *(alone if run.is_shared else ()))

    async def build_alone(self, build: BegunBuild) -> None:
        """As often as what its models read beside its own bronze is published anew meanwhile."""
        for _ in range(_TRIES):
            if not await self.attempt([build], Stopwatch()):
                return
        moving = f"what {build.partition} is built from was published anew {_TRIES} times meanwhile"
        await self.tell(build, WarehouseLockedError(moving))

    async def _drop(self, *suffixes: int | str) -> None:
        await drop_scratch(self.connection, self.settings.scratch_schema, self.names, *suffixes)


class _Attempt:
    """One run of dbt, and what is loaded before it and published after it."""

    def __init__(self, batch: _Batch, watch: Stopwatch, *, is_shared: bool) -> None:
        self.batch = batch
        self.connection = batch.connection
        self.watch = watch
        self.is_shared = is_shared
        self.results: list[dbt.NodeResult] = []
        self.present: dict[str, str] = {}
        self.before: Versions = {}

    async def run(self, builds: Sequence[BegunBuild]) -> list[BegunBuild]:
        """Load, run the models, publish; the builds that must be built by themselves instead."""
        members = await self._load(await self._open(builds))
        if not members:
            return []
        try:
            tables = await self._run_models(members)
        except (ModelError, DataTestError) as error:
            if self.is_shared:
                return [member.build for member in members]
            await self.batch.tell(members[0].build, error)
            return []
        return await self._publish(members, tables)

    async def _open(self, builds: Sequence[BegunBuild]) -> list[_Member]:
        """Open what can be read and make its scratch tables; a column that one file brings is
        there for all."""
        batch = self.batch
        bronze = batch.dataset.bronze_table
        self.present = (await columns_of(self.connection, [bronze])).get(bronze, {})
        client = minio_client(batch.settings)
        bounds = ColumnBounds(batch.settings.columns_per_file, batch.settings.columns_per_table)
        known = dict(self.present)
        members: list[_Member] = []
        for build in builds:
            try:
                files = await asyncio.to_thread(
                    open_files, client, batch.dataset, build.manifest, known, bounds
                )
            except QuicksilverError as error:
                await batch.tell(build, error)
                continue
            known.update({at.name: at.sql_type for file in files for at in file.plan.landings})
            tag = batch.cut.tag(build.partition)
            unlogged = await exists(self.connection, CHILDREN, batch.bronze.child(tag))
            day = build.partition.day
            value = batch.cut.value(build.partition)
            scratch = ScratchPartition(value, tag, day, unlogged)
            members.append(_Member(build, scratch, files, Loaded(0, ())))
        self.watch.lap("open")
        return members

    async def _load(self, members: Sequence[_Member]) -> list[_Member]:
        if not members:
            return []
        batch = self.batch
        schema, scratch = batch.settings.scratch_schema, batch.bronze.scratch
        files = [file for member in members for file in member.files]
        columns = bronze_columns(batch.dataset, files, self.present, batch.cut.columns)
        parts = [member.scratch for member in members]
        if self.is_shared:
            await create_shared_scratch(
                self.connection, schema, scratch, columns, batch.cut, parts, batch.worker
            )
        else:
            await create_scratch(
                self.connection, batch.bronze.source, columns, batch.cut, parts[0], batch.worker
            )
        done = await asyncio.to_thread(
            load_each,
            scratch_url(
                batch.settings.warehouse_url.get_secret_value(),
                batch.worker,
                batch.dataset.time_limit,
            ),
            schema,
            {self._own(batch.bronze, member).scratch: member.files for member in members},
            memory=batch.settings.run_memory,
        )
        loaded: list[_Member] = []
        for member in members:
            outcome = done[self._own(batch.bronze, member).scratch]
            if isinstance(outcome, QuicksilverError):
                await batch.tell(member.build, outcome)
            else:
                member.loaded = outcome
                loaded.append(member)
        self.watch.lap("load")
        failpoint.reach("between-load-and-dbt")
        return loaded

    async def _run_models(self, members: Sequence[_Member]) -> list[Table]:
        """The tables that dbt made, all partitions in each.

        Raises:
            ModelError, DataTestError: it found fault with some of them.
        """
        batch = self.batch
        names = [member.build.partition.name for member in members]
        self.before = await versions(self.connection, names)
        try:
            self.results = await run_models(
                batch.settings,
                batch.dataset,
                batch.cut,
                batch.worker,
                [member.scratch for member in members],
                is_shared=self.is_shared,
            )
            shown = batch.settings.failed_rows
            try:
                await refuse_failures(self.connection, self.results, shown)
            except QuicksilverError as error:
                # Whoever logs the error logs what dbt did, too.
                error.add_note(dbt.told(self.results))
                raise
            made = scratch_tables(batch.settings, self.results, batch.worker)
            tables = [batch.bronze, *made]
            await ensure_columns(self.connection, tables, batch.cut)
        finally:
            self.watch.lap("dbt")
        return tables

    async def _publish(
        self, members: Sequence[_Member], tables: Sequence[Table]
    ) -> list[BegunBuild]:
        """Each partition in a transaction of its own; the builds that must be done again."""
        again: list[BegunBuild] = []
        cut = self.batch.cut
        silver = await rows_of_silver(self.connection, tables, cut)
        rejected = await rows_rejected(self.connection, tables, cut)
        loaded_at = clock.now()
        for member in members:
            build, value = member.build, member.scratch.value
            with self._span(build):
                reasons = rejected.get(value, {})
                counts = Counts(member.loaded.rows, silver.get(value, 0), sum(reasons.values()))
                result = BuildResult(
                    rows_bronze=counts.bronze,
                    rows_silver=counts.silver,
                    rows_rejected=counts.rejected,
                    rejected_by_reason=reasons,
                    timings=dict(self.watch.timings),
                    new_columns=self._new_columns(member),
                    dbt=self.results,
                    loaded_at=loaded_at,
                    warnings=await self._warnings(member, counts),
                    skipped=[asdict(file) for file in member.loaded.skipped],
                    together=len(members),
                )
                own = [self._own(table, member) for table in tables]
                if self.is_shared:
                    await _detach(self.connection, tables, own)
                try:
                    await self._publish_one(member, own, counts, result)
                except InputMovedError:
                    again.append(build)
                except QuicksilverError as error:
                    await self.batch.tell(build, error)
                else:
                    self.watch.lap("publish")
                    result.timings.update(self.watch.timings)
                    await self.batch.tell(build, result)
        return again

    def _new_columns(self, member: _Member) -> list[str]:
        # In a table that has none yet, every column is new, and that is no news.
        is_first = len(self.present) <= len(self.batch.cut.columns)
        return [] if is_first else list(member.loaded.new_columns)

    async def _warnings(self, member: _Member, counts: Counts) -> list[str]:
        """What a person should know of a partition that is built all the same."""
        said = list(member.loaded.notes)
        said += [f"left out: {file.reason}" for file in member.loaded.skipped]
        # What was emptied on purpose has no usual size.
        if not member.build.manifest:
            return said
        return said + await volume_warnings(self.connection, member.build.partition, counts)

    async def _publish_one(
        self, member: _Member, tables: Sequence[Table], counts: Counts, result: BuildResult
    ) -> None:
        """Publish, and wait for locks of others while the build has time, each a little at a time.

        Raises:
            FencedError: it may not be published.
            WarehouseLockedError: the time is over; the message says who holds what.
        """
        batch, build = self.batch, member.build
        while True:
            async with watched(self.connection, Warehouse(batch.settings).connect()) as holders:
                try:
                    await publish(
                        self.connection,
                        build.partition,
                        batch.cut,
                        build.id,
                        build.generation,
                        tables,
                        counts,
                        unlogged=member.scratch.unlogged,
                        loaded_at=result.loaded_at,
                        details=result.details(),
                        retention_days=batch.settings.retention_days,
                        inputs=self._inputs(build),
                    )
                except psycopg.Error as error:
                    if not is_transient(error):
                        raise
                    why = holders.told or str(error).strip().split("\n")[0]
                else:
                    return
            said = f"{build.partition} is built and waits to be published: {why}"
            if time.monotonic() > batch.patient_until:
                raise WarehouseLockedError(said)
            await batch.waits(build, said)
            # Whoever queues behind this session's request gets a turn.
            await asyncio.sleep(0.2)

    def _inputs(self, build: BegunBuild) -> dict[Relation, int | None]:
        """The tables that the models read beside the dataset's own, as they were before."""
        read = inputs_of(self.results, self.batch.dataset.bronze_table)
        name = build.partition.name
        return {relation: self.before.get((*relation, name)) for relation in read}

    def _span(self, build: BegunBuild) -> AbstractContextManager[Any]:
        """A build that shares its run has a span of its own in the trace of its event."""
        if not self.is_shared:
            return nullcontext()
        partition = build.partition
        names = {"dataset": partition.dataset, "partition": partition.name, "build": build.id}
        return tracing.span("silver-build", parent=build.traceparent, kind="consumer", **names)

    def _own(self, table: Table, member: _Member) -> Table:
        """The scratch table of one partition."""
        if not self.is_shared:
            return table
        scratch = shared_suffix(table.scratch, member.scratch.tag)
        return Table(table.schema, table.name, table.scratch_schema, scratch)


async def _detach(connection: Connection, tables: Sequence[Table], own: Sequence[Table]) -> None:
    """Make a partition's scratch tables stand alone, as those of a build of one do."""
    await connection.execute(
        sql.SQL("; ").join(
            sql.SQL("alter table {} detach partition {}").format(all_.source, one.source)
            for all_, one in zip(tables, own, strict=True)
        )
    )
