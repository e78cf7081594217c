"""What a flow run tells the ledger about its build."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from quicksilver.domain.gates import follower_name
from quicksilver.domain.manifest import ManifestFile
from quicksilver.domain.partition import Partition
from quicksilver.ledger.gates import gate_items
from quicksilver.ledger.outbox import BUILT, SCHEMA, announce_partition
from quicksilver.ledger.rows import BegunBuild, LedgerPart, as_json, partition_of, where_of
from quicksilver.support import clock
from quicksilver.support.postgres import Transaction


class Runs(LedgerPart):
    """The flow's side of the ledger."""

    async def begin(
        self,
        key: str,
        flow_run_id: UUID,
        *,
        time_limit: timedelta,
        taken_at: datetime | None = None,
    ) -> list[BegunBuild]:
        """Begin a flow run's builds, in the order of their claims, without those that were given up
        or belong to another run. Where several share the run, each has the time of all of them.

        `taken_at`: when a worker began to start the run.
        """
        now = clock.now()
        async with self.database.transaction() as tx:
            locked = await tx.fetch("lock_partition_of", build=None, key=key)
            deadline = now + time_limit * max(1, len(locked))
            rows = await tx.fetch(
                "begin_build",
                key=key,
                flow_run_id=flow_run_id,
                now=now,
                deadline=deadline,
                taken_at=taken_at,
            )
            for row in rows:
                where = where_of(partition_of(row))
                await tx.run("show_started", flow_run_id=flow_run_id, now=now, **where)
                await tx.run("decide_events", generation=row["generation"], **where)
        return [
            BegunBuild(
                row["id"],
                partition_of(row),
                row["generation"],
                row["attempt"],
                tuple(ManifestFile.from_json(f) for f in row["manifest"]),
                row["traceparent"],
            )
            for row in sorted(rows, key=lambda row: row["id"])
        ]

    async def partitions_of(self, key: str) -> list[Partition]:
        """What a run was for, by the key under which Prefect knows it."""
        async with self.database.transaction() as tx:
            rows = await tx.fetch("partitions_of_run", key=key)
        return [partition_of(row) for row in rows]

    async def note_details(self, flow_run_id: UUID, details: Mapping[str, Any]) -> bool:
        """Keep what a run reports of its build, which ends with the run; False: no build."""
        async with self.database.transaction() as tx:
            return bool(
                await tx.run("note_details", flow_run_id=flow_run_id, details=as_json(details))
            )

    async def publish(
        self,
        build_id: int,
        *,
        rows_bronze: int | None,
        rows_silver: int | None,
        rows_rejected: int | None,
        loaded_at: datetime | None,
        details: Mapping[str, Any],
    ) -> bool:
        """Record that silver stands in the warehouse. False when the build was settled already.

        The rows of a flow that does not report to the ledger are unknown: None. What is to follow a
        partition is opened in the same commit, once for each generation.
        """
        now = clock.now()
        counts: dict[str, Any] = {
            "rows_bronze": rows_bronze,
            "rows_silver": rows_silver,
            "rows_rejected": rows_rejected,
            "loaded_at": loaded_at,
            "now": now,
        }
        async with self.database.transaction() as tx:
            await tx.one("lock_partition_of", build=build_id, key=None)
            row = await tx.one("publish_build", build=build_id, details=as_json(details), **counts)
            if row is None:
                return False
            at = {**where_of(partition_of(row)), "generation": row["generation"]}
            manifest = as_json(row["manifest"])
            await tx.run_together(
                [
                    ("show_published", {**at, "manifest": manifest, **counts}),
                    ("events_recovered", {**at, "build": build_id}),
                ]
            )
            await self._open_followers(tx, partition_of(row), row["generation"], now)
            await announce_partition(
                tx,
                BUILT,
                partition_of(row),
                {"generation": row["generation"], "rows_silver": rows_silver},
                now,
            )
            if details.get("new_columns"):
                columns = ", ".join(details["new_columns"])
                payload = {"generation": row["generation"], "reason": f"new in bronze: {columns}"}
                await announce_partition(tx, SCHEMA, partition_of(row), payload, now)
            await tx.run("wake", payload="published")
        return True

    async def _open_followers(
        self, tx: Transaction, partition: Partition, generation: int, now: datetime
    ) -> None:
        dataset = self.datasets.by_name.get(partition.dataset)
        if dataset is None or not dataset.then:
            return
        followers = [
            (follower_name(dataset.name, d), partition.name, generation) for d in dataset.then
        ]
        await tx.run("open_gates", items=as_json(gate_items(followers)), now=now)

    async def yield_build(self, build_id: int, why: str) -> bool:
        """The manifest is no longer what bronze holds: end without publishing, build anew."""
        async with self.database.transaction() as tx:
            return bool(await tx.run("yield_build", build=build_id, error=why))

    async def record_error(
        self,
        build_id: int,
        error: str,
        *,
        is_final: bool = False,
        rows: Sequence[Mapping[str, str]] = (),
    ) -> bool:
        """Keep the sentence that a person needs; the run's end itself comes from Prefect.

        `is_final`: the error is the data's, and the build is not tried again. `rows` are some that
        a test found fault with.
        """
        async with self.database.transaction() as tx:
            return bool(
                await tx.run(
                    "record_error",
                    build=build_id,
                    error=error[:4000],
                    is_final=is_final,
                    rows=as_json(list(rows)) if rows else None,
                )
            )
