"""Backfill: bring a range of partitions to silver, with a lower priority than live events.

The work is written to the ledger with a low priority, and the dispatcher does it: an interrupted
backfill goes on by itself, and starting it again finds only what is left.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import islice

from quicksilver.domain.arrival import Arrival
from quicksilver.domain.datasets import Dataset
from quicksilver.domain.partition import Partition
from quicksilver.domain.reasons import Reason
from quicksilver.domain.states import PartitionState
from quicksilver.errors import QuicksilverError
from quicksilver.lake.bronze import Bronze
from quicksilver.ledger import Ledger
from quicksilver.operators.shapes.backfills import Progress
from quicksilver.roles.listing import arrivals_of
from quicksilver.support import clock

# Below every live event (0) and any priority that a user would give a dataset.
PRIORITY = -100

_PAGE = 1000

# Of a range that failed, enough to see what is wrong.
_NAMED = 20

_LOOK = 0.5


@dataclass(frozen=True, slots=True)
class Backfill:
    """The size of a backfill: the partitions in range, those built already, those to do."""

    partitions: tuple[Partition, ...]
    skipped: int
    scheduled: int


async def schedule(
    ledger: Ledger,
    bronze: Bronze,
    dataset: Dataset,
    first: date,
    last: date,
    *,
    newest_first: bool = False,
    rebuild: bool = False,
) -> Backfill:
    """Mark dirty what bronze holds from `first` to `last` and silver does not.

    With `rebuild`, also what is built and unchanged.

    Raises:
        QuicksilverError: the range is empty or upside down.
        BronzeUnavailableError, LedgerUnavailableError: what was scheduled so far stays.
    """
    if first > last:
        raise QuicksilverError(f"the range {first} to {last} is upside down")
    await ledger.upkeep.sync_datasets()
    arrivals = await asyncio.to_thread(
        lambda: [
            arrival
            for listed in bronze.walk(dataset.bucket, dataset.prefix)
            for arrival in arrivals_of(listed, dataset, ledger, "sweep")
            if arrival.partition
            and arrival.partition.day
            and first <= arrival.partition.day <= last
        ]
    )
    by_partition: dict[Partition, list[Arrival]] = {}
    for arrival in arrivals:
        if arrival.partition:
            by_partition.setdefault(arrival.partition, []).append(arrival)
    order = sorted(by_partition, reverse=newest_first)
    if not order:
        raise QuicksilverError(
            f"bronze holds nothing of {dataset.name} from {first} to {last}"
            f" under s3://{dataset.bucket}/{dataset.prefix}"
        )
    scheduled = 0
    now = clock.now()
    # The backlog is ordered by time of change: one microsecond apart keeps the order.
    turn = enumerate(order)
    while page := list(islice(turn, _PAGE)):
        batch = [
            replace(arrival, received_at=now + timedelta(microseconds=place))
            for place, partition in page
            for arrival in by_partition[partition]
        ]
        reasons = await ledger.recording.record(batch, priority=PRIORITY)
        changed = {
            arrival.partition
            for arrival, reason in zip(batch, reasons, strict=True)
            if Reason.of(reason).is_open
        }
        rest = [partition for _, partition in page if partition not in changed]
        again = await _unbuilt(ledger, dataset, rest) if not rebuild else rest
        if again:
            await ledger.recording.rebuild(again, priority=PRIORITY, asked_by="backfill")
        scheduled += len(changed) + len(again)
    return Backfill(tuple(order), len(order) - scheduled, scheduled)


async def _unbuilt(
    ledger: Ledger, dataset: Dataset, partitions: Iterable[Partition]
) -> list[Partition]:
    """The unchanged partitions that failed: those that wait or run go on by themselves."""
    names = [partition.name for partition in partitions]
    rows = (
        await ledger.views.partitions(dataset=dataset.name, names=names, limit=len(names))
        if names
        else []
    )
    failed = [row for row in rows if row["shown_state"] == PartitionState.FAILED]
    return [Partition(row["dataset"], row["partition"]) for row in failed]


async def progress(ledger: Ledger, dataset: str, first: date, last: date) -> Progress:
    """How far a range is: its partitions by state, and the first of those that failed."""
    failed = await ledger.finding.partitions(
        dataset=dataset, states=[PartitionState.FAILED], first=first, last=last, limit=_NAMED
    )
    return {
        "dataset": dataset,
        "first": first,
        "last": last,
        "partitions": await ledger.finding.state_counts(dataset, first, last),
        "failed": [{"partition": row["partition"], "error": row["error"]} for row in failed],
    }


async def watch(
    ledger: Ledger, dataset: str, first: date, last: date
) -> AsyncGenerator[tuple[int, Progress]]:
    """Poll a range until all of it ended: how many have, and the progress."""
    while True:
        seen = await progress(ledger, dataset, first, last)
        states = seen["partitions"]
        ended = states.get(PartitionState.BUILT, 0) + states.get(PartitionState.FAILED, 0)
        yield ended, seen
        if ended == sum(states.values()):
            return
        await asyncio.sleep(_LOOK)
