"""Waiting for partitions to be built; with no service to do it, having them built here."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from quicksilver.domain.partition import Partition
from quicksilver.domain.states import PartitionState
from quicksilver.errors import BuildRefusedError, QuicksilverError
from quicksilver.flows.context import FlowContext
from quicksilver.flows.failover import failing_over
from quicksilver.ledger import Ledger
from quicksilver.roles.sweep import Sweep
from quicksilver.support import clock
from quicksilver.support.postgres import Row

# How often a waiting flow looks at the ledger, in seconds: it only waits, so seldom is enough.
_POLL_SECONDS = 1.0

_UNHAPPY = (PartitionState.FAILED, PartitionState.PAUSED)


async def ensure_built(
    lake: FlowContext,
    partitions: Sequence[Partition],
    build_here: Callable[[Partition], Awaitable[object]],
    *,
    patience: timedelta,
) -> list[Row]:
    """Wait until partitions are built; with no service to do it, have them built here.

    What bronze holds is made known to the ledger first, so that a lost event does not matter and
    a partition that the webhook reported is built once. What the service had under way when it went
    is seen to its end first; a retry and a readiness rule wait here as they do there.

    Returns:
        The partitions' rows, all built.

    Raises:
        QuicksilverError: one failed, or is not built after `patience`; all such are named.
        BronzeUnavailableError, LedgerUnavailableError: the question cannot be asked.
    """
    ledger = lake.ledger
    await ledger.upkeep.sync_datasets()
    sweep = Sweep(lake.settings, ledger, lake.bronze)
    for partition in partitions:
        await sweep.compare(
            ledger.datasets.get(partition.dataset), lane="poll", partition=partition.name
        )
    deadline = clock.now() + patience
    async with failing_over(lake.settings, ledger) as failover:
        while True:
            rows = await _rows(ledger, partitions)
            waiting = [row for row in rows if row["shown_state"] != PartitionState.BUILT]
            if not waiting and len(rows) == len(partitions):
                return rows
            unhappy = [row for row in waiting if row["shown_state"] in _UNHAPPY]
            missing = set(partitions) - {_partition(row) for row in rows}
            if unhappy or missing or clock.now() > deadline:
                raise QuicksilverError(_complaint(unhappy or waiting, missing))
            if await failover.is_wanted():
                held = await failover.run_once()
                for row in await _rows(ledger, partitions):
                    if _is_due(row) and _partition(row) not in held:
                        # Refused: another run was faster, and is waited for.
                        with contextlib.suppress(BuildRefusedError):
                            await build_here(_partition(row))
            await asyncio.sleep(_POLL_SECONDS)


def _partition(row: Row) -> Partition:
    return Partition(row["dataset"], row["partition"])


def _is_due(row: Row) -> bool:
    """Whether a dispatcher would claim it now."""
    # Without a due time a `pending` partition is due at once, and a `waiting` one never, until more
    # lands.
    due = row["due_at"] is None or row["due_at"] <= clock.now()
    return (row["shown_state"] == PartitionState.PENDING and due) or (
        row["shown_state"] == PartitionState.WAITING and row["due_at"] is not None and due
    )


async def _rows(ledger: Ledger, partitions: Sequence[Partition]) -> list[Row]:
    wanted = set(partitions)
    rows: list[Row] = []
    for dataset in sorted({p.dataset for p in wanted}):
        names = [p.name for p in wanted if p.dataset == dataset]
        rows += await ledger.views.partitions(dataset=dataset, names=names, limit=len(names))
    return rows


def _complaint(rows: Sequence[Row], missing: set[Partition]) -> str:
    parts = [f"{p} has no object in bronze" for p in sorted(missing)]
    for row in rows:
        why = row["error"] or row["wait_reason"] or "not built in time"
        parts.append(f"{row['dataset']}/{row['partition']} is {row['shown_state']}: {why}")
    return "; ".join(parts)
