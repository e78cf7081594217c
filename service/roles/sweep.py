"""The sweep: lists bronze and compares it with the ledger; what differs becomes dirty.

It finds what no event told: a full queue directory, a kill between PUT and enqueue, a target that
was not configured yet. Each finding is a lost event, and counted as one. What has just landed is
left to its lanes, and checked again when they had their time; a sweep at start, or on request,
finds everything at once, also what the durable lane was about to deliver.
"""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from quicksilver.domain.arrival import Arrival, Lane
from quicksilver.domain.datasets import Dataset
from quicksilver.domain.partition import Partition, prefixes
from quicksilver.domain.reasons import Reason
from quicksilver.errors import BronzeUnavailableError, LedgerUnavailableError
from quicksilver.lake.bronze import Bronze
from quicksilver.ledger import Ledger
from quicksilver.roles import listing
from quicksilver.roles.alerts import clear_alert, raise_alert
from quicksilver.roles.rhythm import Rhythm
from quicksilver.settings import Settings
from quicksilver.support import clock

_log = structlog.get_logger(__name__)

# How long the lanes have to report an object: the durable one's directory is read every 3 s.
SETTLED = timedelta(seconds=10)

# How many of the keys that fit no partition the proof names.
_NAMED = 20

# Seconds between two checks for deletions that events reported.
DELETIONS = 2.0

# Datasets that are compared at once: a slow bucket leaves room for the others.
_AT_ONCE = 4

ALERT = "sweep"


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What a sweep saw: objects listed, those that no event had told of, and those now gone.

    `error` says why the dataset could not be compared; the numbers are then what was seen before.
    """

    dataset: str
    listed: int
    found: int
    gone: int
    error: str | None = None

    @property
    def sentence(self) -> str:
        """What it saw, for people."""
        if self.error is not None:
            return f"{self.dataset}: not compared: {self.error}"
        return (
            f"{self.dataset}: {self.listed} objects listed, {self.found} that no event told of,"
            f" {self.gone} partitions lost objects"
        )


class Sweep:
    """Compares bronze with the ledger."""

    def __init__(self, settings: Settings, ledger: Ledger, bronze: Bronze) -> None:
        self._settings = settings
        self._ledger = ledger
        self._bronze = bronze
        self.interval = settings.sweep_interval
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._rhythms = {name: Rhythm() for name in ledger.datasets.by_name}
        # Ends the loop's pause; every dataset is due when a pass was requested.
        self.changed = asyncio.Event()
        self._deletions_since = clock.now()
        self._is_wanted = False
        # Objects left to their lanes, by bucket, key and etag: since when, and their partition.
        # Since first seen, not since the PUT: MinIO's clock may differ from ours.
        self._fresh: dict[tuple[str, str, str], tuple[datetime, Partition]] = {}

    def ask(self) -> None:
        """Have every dataset compared now."""
        self._is_wanted = True
        self.changed.set()

    async def run_due(self) -> list[SweepResult]:
        """Compare the datasets that are due; the first time finds everything at once.

        Raises:
            LedgerUnavailableError: nothing can be compared now.
        """
        is_wanted, self._is_wanted = self._is_wanted, False
        first: list[str] = []
        again: list[str] = []
        for name, rhythm in self._rhythms.items():
            if is_wanted or rhythm.due_in(self.interval) <= 0:
                (first if rhythm.compared_at is None else again).append(name)
        try:
            results = await self.run_once(first) if first else []
            return results + (await self.run_once(again, settled_for=SETTLED) if again else [])
        except LedgerUnavailableError:
            # The requested pass was not done: the next pass does it.
            self._is_wanted = self._is_wanted or is_wanted
            raise

    async def pause(self) -> float:
        """Seconds until the next dataset is due."""
        if self._is_wanted:
            return 0.0
        waits = [rhythm.due_in(self.interval) for rhythm in self._rhythms.values()]
        return max(0.0, min(waits, default=self.interval))

    async def look_again(self) -> None:
        """Find what was left to its lanes `SETTLED` ago and that no lane has reported since.

        Raises:
            BronzeUnavailableError, LedgerUnavailableError: some are still to be asked for.
        """
        due = clock.now() - SETTLED
        waited: dict[Partition, dict[str, str]] = {}
        for (_, key, etag), (since, partition) in self._fresh.items():
            if since <= due:
                waited.setdefault(partition, {})[key] = etag
        problem: BronzeUnavailableError | None = None
        for partition, objects in sorted(waited.items()):
            dataset = self._ledger.datasets.get(partition.dataset)
            if await self._ledger.comparison.etags(dataset, list(objects)) != objects:
                try:
                    await self.compare(dataset, partition=partition.name, settled_for=SETTLED)
                except BronzeUnavailableError as error:
                    problem = error
        self._forget(due, self._ledger.datasets.by_name)
        if problem is not None:
            raise problem

    async def look_for_deletions(self) -> int:
        """Compare the partitions for which a deletion was reported; how many.

        Raises:
            BronzeUnavailableError, LedgerUnavailableError: they are compared with all others.
        """
        since, self._deletions_since = self._deletions_since, clock.now()
        told = await self._ledger.comparison.told_deleted(since)
        for partition in told:
            dataset = self._ledger.datasets.by_name.get(partition.dataset)
            if dataset is not None:
                await self.compare(dataset, partition=partition.name, settled_for=SETTLED)
        return len(told)

    def _forget(self, due: datetime, names: Collection[str]) -> None:
        self._fresh = {
            name: (since, partition)
            for name, (since, partition) in self._fresh.items()
            if since > due or partition.dataset not in names
        }

    async def run_once(
        self, datasets: Sequence[str] | None = None, *, settled_for: timedelta = timedelta(0)
    ) -> list[SweepResult]:
        """Compare datasets (all by default) with bronze, in parallel, each independently.

        Objects younger than `settled_for` are left to their events; `look_again` asks for them.
        A dataset whose bronze cannot be listed has an error in its result, and an alert.

        Raises:
            LedgerUnavailableError: the sweep is incomplete; what it found so far is recorded.
        """
        names = datasets if datasets is not None else list(self._ledger.datasets.by_name)
        started_at = clock.now()
        results = await asyncio.gather(
            *(self._compare_alone(self._ledger.datasets.get(name), settled_for) for name in names)
        )
        self._forget(started_at - settled_for, [r.dataset for r in results if r.error is None])
        return results

    async def _compare_alone(self, dataset: Dataset, settled_for: timedelta) -> SweepResult:
        rhythm = self._rhythms.setdefault(dataset.name, Rhythm())
        try:
            async with self._at_once:
                result = await self.compare(dataset, lane="sweep", settled_for=settled_for)
        except BronzeUnavailableError as error:
            rhythm.fail(self.interval)
            await raise_alert(
                self._ledger,
                ALERT,
                dataset.name,
                f"{dataset.name} cannot be compared with bronze: {error}. An event that is lost"
                " meanwhile is found when it can",
            )
            return SweepResult(dataset.name, 0, 0, 0, str(error))
        rhythm.succeed()
        await clear_alert(self._ledger, ALERT, dataset.name)
        return result

    async def compare(
        self,
        dataset: Dataset,
        *,
        lane: Lane = "sweep",
        partition: str | None = None,
        settled_for: timedelta = timedelta(0),
        priority: int = 0,
    ) -> SweepResult:
        """Compare one dataset, or one partition of it, with bronze.

        Listing and ledger are read side by side in the order of keys, a page at a time: memory
        stays flat however many objects there are.

        Raises:
            BronzeUnavailableError, LedgerUnavailableError: what was found so far is recorded.
        """
        starts = prefixes(dataset, partition) if partition else (dataset.prefix,)
        started_at = clock.now()
        listed = found = 0
        gone: set[Partition] = set()
        names: set[str] = set()
        unmatched: list[str] = []
        for prefix in starts:
            walk = self._bronze.walk(dataset.bucket, prefix)
            after, is_last = "", False
            while not is_last:
                page = await asyncio.to_thread(
                    listing.next_page, walk, dataset, self._ledger.datasets
                )
                is_last = len(page.objects) < listing.PAGE
                upto = None if is_last else page.objects[-1].key
                listed += len(page.objects)
                names |= page.partitions
                unmatched += page.unmatched
                known: dict[str, str] = {}
                etags = {o.key: o.etag for o in page.objects}
                # Where much is gone, this may be more than a page: it is recorded in batches, too.
                async for rows in listing.kept(self._ledger, dataset, prefix, after, upto):
                    known |= {row.key: row.etag for row in rows if row.key in etags}
                    missing = [row for row in rows if row.key not in etags]
                    gone |= await listing.record_gone(
                        self._ledger, self._bronze, dataset, prefix, missing
                    )
                fresh = [
                    arrival
                    for o in page.objects
                    if known.get(o.key) != o.etag
                    for arrival in listing.arrivals_of(o, dataset, self._ledger, lane)
                    if not self._is_left(arrival, started_at, settled_for)
                ]
                for start in range(0, len(fresh), listing.RECORDED):
                    reasons = await self._ledger.recording.record(
                        fresh[start : start + listing.RECORDED], priority=priority
                    )
                    found += sum(Reason.of(reason).is_open for reason in reasons)
                after = upto or after
        if found and lane == "sweep":
            await self._ledger.upkeep.count_up("sweep_found", found)
            _log.warning(
                "the sweep found objects that no event told of", dataset=dataset.name, found=found
            )
        if partition is None:
            await self._ledger.proof.record_sweep(
                dataset.name,
                started_at,
                listed=listed,
                found=found,
                gone=len(gone),
                names=names,
                unmatched=len(unmatched),
                unmatched_keys=unmatched[:_NAMED],
            )
        return SweepResult(dataset.name, listed, found, len(gone))

    def _is_left(self, arrival: Arrival, now: datetime, settled_for: timedelta) -> bool:
        """Whether an object is too young to be called lost."""
        event, partition = arrival.event, arrival.partition
        if partition is None or event.event_at is None or event.event_at <= now - settled_for:
            return False
        name = (event.bucket, event.key, event.etag or "")
        since, _ = self._fresh.setdefault(name, (now, partition))
        return now - since < settled_for
