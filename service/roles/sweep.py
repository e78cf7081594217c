"""The sweep: bronze is listed and compared with the ledger; what differs becomes dirty.

It finds what no event told: a full queue directory, a kill between PUT and enqueue, a target that
was not configured yet. Each finding is a lost event, and counted as one. What has just landed is
left to its lanes, and asked for again when they had their time; but a start, and whoever asks for a
sweep, finds everything at once, also what the durable lane was about to bring.
"""

import asyncio
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, islice
from time import monotonic

import structlog

from quicksilver.domain.arrival import Arrival, Lane, arrivals
from quicksilver.domain.datasets import Dataset
from quicksilver.domain.event import ObjectEvent
from quicksilver.domain.manifest import ListedObject
from quicksilver.domain.partition import Match, Partition, match, prefixes
from quicksilver.errors import BronzeUnavailableError, LedgerUnavailableError
from quicksilver.lake.bronze import Bronze, list_partition
from quicksilver.ledger import Ledger
from quicksilver.ledger.listener import wait_or_timeout
from quicksilver.settings import Settings
from quicksilver.support import clock

_log = structlog.get_logger(__name__)

# How long the lanes have to tell of an object: the durable one's directory is read every 3 s.
SETTLED = timedelta(seconds=10)

# One page of MinIO's listing: compared and recorded before the next one is read.
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What a sweep saw: objects listed, those that no event had told of, and those now gone."""

    dataset: str
    listed: int
    found: int
    gone: int


class Sweep:
    """Compares bronze with the ledger."""

    def __init__(self, settings: Settings, ledger: Ledger, bronze: Bronze) -> None:
        self._settings = settings
        self._ledger = ledger
        self._bronze = bronze
        self.interval = settings.sweep_interval
        # What was left to its lanes, by bucket, key and etag: since when, and its partition. Seen
        # first, not put: MinIO's clock may be another than ours.
        self._fresh: dict[tuple[str, str, str], tuple[datetime, Partition]] = {}

    async def run(self, wake: asyncio.Event) -> None:
        """Sweep at start and every interval, until cancelled; setting the event sweeps at once."""
        settled_for = timedelta(0)
        while True:
            try:
                await self.run_once(settled_for=settled_for)
                settled_for = SETTLED
            except (BronzeUnavailableError, LedgerUnavailableError) as error:
                _log.warning("the sweep broke off; the next one starts over", error=str(error))
            await self._pause(wake)

    async def _pause(self, wake: asyncio.Event) -> None:
        """Until the next pass; meanwhile what the last one left out is asked for again."""
        until = monotonic() + self.interval
        while (left := until - monotonic()) > 0:
            if await wait_or_timeout(
                wake, min(left, SETTLED.total_seconds()) if self._fresh else left
            ):
                return
            try:
                await self.look_again()
            except (BronzeUnavailableError, LedgerUnavailableError) as error:
                _log.warning("fresh objects are asked for later", error=str(error))

    async def look_again(self) -> None:
        """Find what was left to its lanes `SETTLED` ago, and no lane has told of since.

        Raises:
            BronzeUnavailableError, LedgerUnavailableError: some are still to be asked for.
        """
        due = clock.now() - SETTLED
        waited: dict[Partition, dict[str, str]] = {}
        for (_, key, etag), (since, partition) in self._fresh.items():
            if since <= due:
                waited.setdefault(partition, {})[key] = etag
        for partition, objects in sorted(waited.items()):
            dataset = self._ledger.datasets.get(partition.dataset)
            if await self._ledger.recording.etags(dataset, list(objects)) != objects:
                await self.compare(dataset, partition=partition.name, settled_for=SETTLED)
        self._forget(due, self._ledger.datasets.by_name)

    def _forget(self, due: datetime, names: Collection[str]) -> None:
        self._fresh = {
            name: (since, partition)
            for name, (since, partition) in self._fresh.items()
            if since > due or partition.dataset not in names
        }

    async def run_once(
        self, datasets: Sequence[str] | None = None, *, settled_for: timedelta = timedelta(0)
    ) -> list[SweepResult]:
        """Compare datasets (all by default) with bronze.

        Objects younger than `settled_for` are left to their events; `look_again` asks for them.

        Raises:
            BronzeUnavailableError, LedgerUnavailableError: the sweep is incomplete; what it
            found so far is recorded.
        """
        names = datasets if datasets is not None else list(self._ledger.datasets.by_name)
        started_at = clock.now()
        results = [
            await self.compare(
                self._ledger.datasets.get(name), lane="sweep", settled_for=settled_for
            )
            for name in names
        ]
        self._forget(started_at - settled_for, names)
        return results

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

        Raises:
            BronzeUnavailableError, LedgerUnavailableError: as in `run_once`.
        """
        starts = prefixes(dataset, partition) if partition else (dataset.prefix,)
        started_at = clock.now()
        walk = chain.from_iterable(self._bronze.walk(dataset.bucket, start) for start in starts)
        listed = found = 0
        seen: set[str] = set()
        names: set[str] = set()
        while page := await asyncio.to_thread(_next_page, walk):
            listed += len(page)
            known = await self._ledger.recording.etags(dataset, [o.key for o in page])
            seen.update(o.key for o in page if o.key in known)
            names.update(_names(page, dataset))
            fresh = [
                arrival
                for o in page
                if known.get(o.key) != o.etag
                for arrival in arrivals_of(o, dataset, self._ledger, lane)
                if not self._is_left(arrival, started_at, settled_for)
            ]
            reasons = await self._ledger.recording.record(fresh, priority=priority)
            found += sum(reason in ("settling", "paused") for reason in reasons)
        gone = await self._gone(dataset, partition, seen)
        if found and lane == "sweep":
            await self._ledger.upkeep.count_up("sweep_found", found)
            _log.warning(
                "the sweep found objects that no event told of", dataset=dataset.name, found=found
            )
        if partition is None:
            await self._ledger.proof.record_sweep(
                dataset.name, started_at, listed=listed, found=found, gone=len(gone), names=names
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

    async def _gone(
        self, dataset: Dataset, partition: str | None, seen: set[str]
    ) -> list[Partition]:
        """Partitions whose objects were deleted since the ledger saw them."""
        told = await self._ledger.recording.object_keys(dataset.name, partition)
        missing = {key: where for key, where in told.items() if key not in seen}
        for gone in sorted(set(missing.values())):
            keys = [key for key, where in missing.items() if where == gone]
            # The walk began before: only a fresh listing says that an object is gone.
            listing = await list_partition(self._bronze, dataset, gone.name)
            present = {o.key for o in listing}
            await self._ledger.recording.record_gone(
                dataset.bucket, gone, [key for key in keys if key not in present]
            )
        return sorted(set(missing.values()))


def _next_page(walk: Iterator[ListedObject]) -> list[ListedObject]:
    return list(islice(walk, _PAGE))


def _names(page: Sequence[ListedObject], dataset: Dataset) -> Iterator[str]:
    """The partitions of the dataset that a page of its listing names."""
    for o in page:
        found = match(dataset, o.key)
        if isinstance(found, Match):
            yield found.partition.name


def arrivals_of(
    listed: ListedObject, dataset: Dataset, ledger: Ledger, lane: Lane
) -> list[Arrival]:
    """A listed object as the event that should have told of it; none outside the partitions."""
    event = ObjectEvent(
        name="ObjectCreated:Listed",
        bucket=dataset.bucket,
        key=listed.key,
        etag=listed.etag,
        version_id=None,
        size=listed.size,
        # Found again after a change and back: the time tells the two findings apart.
        sequencer=f"{listed.last_modified.timestamp():.6f}",
        event_at=listed.last_modified,
    )
    found = arrivals(event, ledger.datasets, lane, lane, clock.now())
    return [one for one in found if one.partition and one.partition.dataset == dataset.name]
