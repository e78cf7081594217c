"""How builds end."""

from datetime import datetime, timedelta

from quicksilver.domain.partition import Partition
from quicksilver.domain.states import BuildState, PartitionState
from quicksilver.ledger.outbox import FAILED, announce_partition
from quicksilver.ledger.rows import NEVER, ActiveBuild, LedgerPart, partition_of, where_of
from quicksilver.support import clock

# The space of the advisory locks by which flows hold their builds (see `hold_build`).
BUILD_SPACE = 0x51_53


class Settlement(LedgerPart):
    """The settler's side of the ledger."""

    async def active_builds(self) -> list[ActiveBuild]:
        """Every build between claim and the end of its run, oldest first."""
        async with self.database.transaction() as tx:
            rows = await tx.fetch("active_builds", space=BUILD_SPACE)
        return [
            ActiveBuild(
                row["id"],
                partition_of(row),
                row["generation"],
                BuildState(row["state"]),
                row["flow_run_id"],
                row["deadline_at"],
                row["abandoned_at"],
                row["cancel_requested_at"],
                row["error"],
                row["is_held"],
                row["is_final"],
                row["started_at"],
            )
            for row in rows
        ]

    async def finish(
        self,
        build: ActiveBuild,
        state: BuildState,
        *,
        error: str | None = None,
        counted: bool = False,
        retry_at: datetime | None = None,
    ) -> bool:
        """End a build in `state`; its partition is retried at `retry_at`, or failed if None.

        `counted` says whether the end uses an attempt up. False when the build moved on.
        """
        now = clock.now()
        where = where_of(build.partition)
        async with self.database.transaction() as tx:
            partition = await tx.one("lock_partition", **where)
            row = await tx.one(
                "finish_build",
                build=build.id,
                state=state,
                expected=build.state,
                error=error,
                now=now,
            )
            if row is None or partition is None:
                return False
            if state != BuildState.SUCCEEDED:
                shown = await tx.one(
                    "show_failed",
                    generation=build.generation,
                    state=PartitionState.FAILED if retry_at is None else PartitionState.PENDING,
                    counted=int(counted),
                    due_at=retry_at or NEVER,
                    error=row["error"],
                    now=now,
                    **where,
                )
                if shown is not None and shown["state"] == PartitionState.FAILED:
                    await tx.run(
                        "events_failed",
                        generation=build.generation,
                        built=partition["built_generation"],
                        **where,
                    )
                    await announce_partition(
                        tx,
                        FAILED,
                        build.partition,
                        {"generation": build.generation, "reason": row["error"]},
                        now,
                    )
            await tx.run("wake", payload="finished")
        return True

    async def attempts(self, partition: Partition) -> int:
        """Failed builds of the present generation."""
        async with self.database.transaction() as tx:
            row = await tx.one("lock_partition", **where_of(partition))
        return int(row["attempts"]) if row else 0

    async def generation(self, partition: Partition) -> int:
        """The partition's present generation; 0 when nothing ever landed."""
        async with self.database.transaction() as tx:
            row = await tx.one("lock_partition", **where_of(partition))
        return int(row["generation"]) if row else 0

    async def record_abandoned(self, build_id: int, at: datetime | None) -> None:
        """Note since when no session holds a running build; None once one does again."""
        async with self.database.transaction() as tx:
            await tx.run("record_abandoned", build=build_id, at=at)

    async def note_begun(self, build: ActiveBuild, *, within: timedelta) -> bool:
        """A run works on a build but has not told the ledger: give it this long from now.

        False when that was noted before, or the build moved on.
        """
        now = clock.now()
        async with self.database.transaction() as tx:
            return bool(await tx.run("note_begun", build=build.id, now=now, deadline=now + within))

    async def extend_start(self, build: ActiveBuild, why: str, within: timedelta) -> bool:
        """Give a run longer to begin, when something other than its worker holds it up."""
        now = clock.now()
        async with self.database.transaction() as tx:
            return bool(
                await tx.run(
                    "extend_start", build=build.id, error=why, now=now, deadline=now + within
                )
            )

    async def request_cancel(self, build: ActiveBuild, why: str, *, within: timedelta) -> bool:
        """Note that a run was asked to stop, and by when it must have; on all of its builds."""
        now = clock.now()
        noted = {"build": build.id, "now": now, "deadline": now + within, "error": why}
        async with self.database.transaction() as tx:
            if not await tx.run("request_cancel", expected=build.state, **noted):
                return False
            await tx.run("request_cancel_run", **noted)
        return True
