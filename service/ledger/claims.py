"""From dirty to a Prefect run: claims, and what became of them."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from quicksilver.domain.partition import Partition
from quicksilver.domain.states import PartitionState
from quicksilver.ledger.outbox import LANDED, announce_partition
from quicksilver.ledger.rows import (
    ClaimedBuild,
    LedgerPart,
    SealedBuild,
    as_json,
    partition_of,
    where_of,
)
from quicksilver.ledger.turns import ActiveRuns, choose_runs, most_needed
from quicksilver.support import clock
from quicksilver.support.postgres import Transaction

# One advisory lock of the database: the session that holds it claims.
_CLAIM_LOCK = 0x51_53_43_4C


async def give_back(tx: Transaction, build: ClaimedBuild, owner: str, why: str) -> bool:
    """End a claim that needs no run; False when it is no longer this owner's claim.

    Once sealed it may have reached Prefect although the answer was lost: its key is then spent
    and the row stays, so that the next build of the generation gets another key, and a run.
    """
    return bool(
        await tx.run("release_build", build=build.id, owner=owner)
        or await tx.run("spend_build", build=build.id, owner=owner, error=why, now=clock.now())
    )


class Claims(LedgerPart):
    """The dispatcher's side of the ledger."""

    async def claim(
        self,
        owner: str,
        *,
        slots: int,
        lease: timedelta,
        only: Partition | None = None,
        batches: Mapping[str, int] | None = None,
        held: Collection[str] = (),
        on_trial: Collection[str] = (),
    ) -> list[ClaimedBuild]:
        """Take the partitions that are due, up to the free slots, each with a build of its own.

        Args:
            owner: the dispatcher or flow run that claims.
            slots: how many runs may be under way at once, over all datasets and owners.
            lease: how long the claims are this owner's without a sign of life.
            only: this partition and no other.
            batches: by dataset, how many builds at most may share a run: they do when a backlog
                waits.
            held: datasets of which nothing is claimed now.
            on_trial: datasets of which one run may be under way.
        """
        now = clock.now()
        batches = batches or {}
        async with self.database.transaction() as tx:
            # Claims are short and counted: one at a time over all replicas keeps the limits exact.
            _, active, due = await tx.fetch_together(
                [
                    ("lock_claims", {"lock": _CLAIM_LOCK}),
                    ("active_runs", {}),
                    (
                        "due_partitions",
                        {
                            "now": now,
                            "most": most_needed(slots, batches),
                            "only": [only.name] if only else None,
                            "datasets": [only.dataset] if only else None,
                            "held": list(held),
                        },
                    ),
                ]
            )
            runs = choose_runs(
                due,
                {r["dataset"]: ActiveRuns(r["runs"], r["has_batches"]) for r in active},
                slots=slots,
                batches=batches,
                on_trial=on_trial,
            )
            if not runs:
                return []
            rows = await tx.fetch(
                "take_partitions",
                items=as_json(_items(runs)),
                owner=owner,
                now=now,
                deadline=now + lease,
            )
        return [
            ClaimedBuild(row["id"], partition_of(row), row["generation"], now, row["run_key"])
            for row in sorted(rows, key=lambda row: row["id"])
        ]

    async def own_claims(self, owner: str) -> list[ClaimedBuild]:
        """What this owner claimed and has not brought to Prefect yet."""
        async with self.database.transaction() as tx:
            rows = await tx.fetch("own_claims", owner=owner)
        return [
            ClaimedBuild(
                row["id"],
                partition_of(row),
                row["generation"],
                row["claimed_at"],
                row["run_key"],
                is_paused=bool(row["is_paused"]),
            )
            for row in rows
        ]

    async def adopt(self, owner: str, *, lease: timedelta) -> int:
        """Take over claims whose dispatcher is gone; how many."""
        now = clock.now()
        async with self.database.transaction() as tx:
            return await tx.run(
                "adopt_build", owner=owner, now=now, deadline=now + lease, alive_since=now - lease
            )

    async def release(
        self,
        build: ClaimedBuild,
        owner: str,
        *,
        error: str,
        due_at: datetime,
        counted: bool = False,
    ) -> bool:
        """Give back a claim that cannot go on now, with the reason, to be tried later.

        `counted` counts an attempt, but never the last one of the dataset's.
        """
        now = clock.now()
        declared = self.datasets.by_name.get(build.partition.dataset)
        async with self.database.transaction() as tx:
            # Partition first, build second: the order in which every transition locks.
            await tx.one("lock_partition", **where_of(build.partition))
            if not await give_back(tx, build, owner, error):
                return False
            await tx.run(
                "release_partition",
                state=PartitionState.PENDING,
                wait_reason=None,
                due_at=due_at,
                error=error,
                counted=int(counted),
                at_most=declared.attempts - 1 if declared else 0,
                now=now,
                **where_of(build.partition),
            )
        return True

    async def mark_dispatched(
        self,
        builds: Sequence[SealedBuild],
        owner: str,
        flow_run_id: UUID,
        *,
        start_within: timedelta,
    ) -> int:
        """Keep the run that Prefect made for builds; how many of them had not moved on."""
        now = clock.now()
        marked = 0
        async with self.database.transaction() as tx:
            # In the database's order, as every transaction locks them: Python's order differs
            # where the collation is not C, and two orders deadlock.
            await tx.fetch(
                "lock_partitions", items=as_json([where_of(b.partition) for b in builds])
            )
            for build in builds:
                where = where_of(build.partition)
                row = await tx.one(
                    "mark_dispatched",
                    build=build.id,
                    owner=owner,
                    flow_run_id=flow_run_id,
                    now=now,
                    deadline=now + start_within,
                )
                if row is None:
                    continue
                marked += 1
                await tx.run(
                    "show_dispatched",
                    flow_run_id=flow_run_id,
                    now=now,
                    claimed_at=build.claimed_at,
                    **where,
                )
                await tx.run("decide_events", generation=row["generation"], **where)
                if build.attempt == 1:
                    payload = {"generation": build.generation, "flow_run_id": str(flow_run_id)}
                    await announce_partition(tx, LANDED, build.partition, payload, now)
            await tx.run("wake_workers")
        return marked


def _items(runs: Sequence[Sequence[Partition]]) -> list[dict[str, Any]]:
    """Chosen runs as rows; builds that share a run have its key."""
    batch = uuid4().hex[:16]
    rows: list[dict[str, Any]] = []
    for run in runs:
        key = f"{run[0]}+:{batch}" if len(run) > 1 else None
        rows += [{**where_of(p), "run_key": key} for p in run]
    return [{**row, "place": place} for place, row in enumerate(rows)]
