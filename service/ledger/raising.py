"""Generations: each change to a partition raises its generation, none lowers it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from quicksilver.domain.datasets import Datasets
from quicksilver.domain.partition import Partition
from quicksilver.domain.readiness import needs_folder
from quicksilver.domain.states import PartitionState
from quicksilver.ledger.rows import as_json, where_of
from quicksilver.ledger.waiting import files_of, judge
from quicksilver.support import clock, tracing
from quicksilver.support.postgres import Row, Statement, Transaction


@dataclass(slots=True)
class Change:
    """What a batch does to one partition."""

    versions: int = 0
    put_at: datetime | None = None
    received_at: datetime | None = None
    traceparent: str | None = None


async def raise_generations(
    tx: Transaction,
    datasets: Datasets,
    changes: Mapping[Partition, Change],
    locked: Mapping[Partition, Row],
    *,
    priority: int = 0,
    is_forced: bool = False,
    asked_by: str | None = None,
    after: Sequence[Statement] = (),
) -> None:
    """Make partitions dirty, `after` what else is written, in one round trip if that may be.

    `locked` holds their rows; `is_forced` asks no readiness rule, and `asked_by`
    says who wanted it.
    """
    now = clock.now()
    writes = list(after)
    ruled = [p for p in changes if needs_folder(datasets.get(p.dataset).ready) and not is_forced]
    files: dict[Partition, list[str]] = {}
    if ruled:
        # The rules count the files that have just landed, too.
        await tx.run_together(writes)
        writes.clear()
        files = await files_of(tx, ruled)
    rows: list[dict[str, Any]] = []
    for partition, change in changes.items():
        received_at = change.received_at or now
        due_at: datetime | str = now
        why = None
        if partition in ruled:
            due_at, why = judge(
                datasets.get(partition.dataset),
                files.get(partition, []),
                received_at,
                _dirty_since(locked[partition]) or received_at,
                now,
            )
        rows.append(
            {
                **where_of(partition),
                "versions": change.versions,
                "state": PartitionState.WAITING if why else PartitionState.PENDING,
                "wait_reason": why,
                "due_at": due_at,
                "put_at": change.put_at,
                "received_at": received_at,
                "priority": priority,
                "is_forced": is_forced,
                "asked_by": asked_by,
                "traceparent": change.traceparent or tracing.traceparent(),
            }
        )
    writes += [("raise_generations", {"items": as_json(rows)}), ("wake", {"payload": "raised"})]
    await tx.run_together(writes)


def _dirty_since(row: Row) -> datetime | None:
    """Since when a partition waits; one that failed starts afresh, as its attempts do."""
    return None if row["state"] == PartitionState.FAILED else row["dirty_since"]
