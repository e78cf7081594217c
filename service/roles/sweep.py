"""The sweep: bronze is listed and compared with the ledger; what differs becomes dirty.

It finds what no event told: a full queue directory, a kill between PUT and enqueue, a target that
was not configured yet. Each finding is a lost event, and counted as one. What has just landed is
left to its lanes, and asked for again when they had their time; but a start, and whoever asks for a
sweep, finds everything at once, also what the durable lane was about to bring.
"""

import asyncio
from collections.abc import AsyncGenerator, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice, takewhile
from time import monotonic

import structlog

from quicksilver.domain.arrival import Arrival, Lane, arrivals
from quicksilver.domain.datasets import Dataset, Datasets
from quicksilver.domain.event import ObjectEvent
from quicksilver.domain.manifest import ListedObject
from quicksilver.domain.partition import Match, Partition, match, matches, prefixes
from quicksilver.domain.reasons import Reason
from quicksilver.errors import BronzeUnavailableError, LedgerUnavailableError
from quicksilver.lake.bronze import Bronze
from quicksilver.ledger import Ledger
from quicksilver.ledger.comparison import KeptObject
from quicksilver.roles.alerts import clear_alert, raise_alert
from quicksilver.settings import Settings
from quicksilver.support import clock
from quicksilver.support.backoff import delay

_log = structlog.get_logger(__name__)

# How long the lanes have to tell of an object: the durable one's directory is read every 3 s.
SETTLED = timedelta(seconds=10)

# One page of MinIO's listing: compared and recorded before the next one is read.
_PAGE = 1000

# Found objects that are recorded in one commit: more would keep the event loop for too long.
_RECORDED = 200

# Keys named in the proof of those that fit no partition.
_NAMED = 20

# Seconds between two looks for deletions that events told of.
DELETIONS = 2.0

# Datasets that are compared at once: a bucket that answers slowly leaves room for the others.
_AT_ONCE = 4

# A dataset that could not be compared is tried again after these many seconds, doubled each time
# up to the sweep's own interval.
_RETRY = 5.0

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


@dataclass(slots=True)
class _Rhythm:
    """When a dataset was last compared, and how often in a row that failed."""

    compared_at: float | None = None
    retry_at: float = 0.0
    failures: int = 0

    def due_in(self, interval: float) -> float:
        """Seconds until it is compared again."""
        if self.failures:
            return self.retry_at - monotonic()
        return self.compared_at + interval - monotonic() if self.compared_at is not None else 0.0

    def fail(self, interval: float) -> None:
        """It could not be compared."""
        self.failures += 1
        self.retry_at = monotonic() + delay(self.failures, base=_RETRY, cap=interval)

    def succeed(self) -> None:
        """It was compared."""
        self.failures, self.compared_at = 0, monotonic()


class Sweep:
    """Compares bronze with the ledger."""

    def __init__(self, settings: Settings, ledger: Ledger, bronze: Bronze) -> None:
        self._settings = settings
        self._ledger = ledger
        self._bronze = bronze
        self.interval = settings.sweep_interval
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._rhythms = {name: _Rhythm() for name in ledger.datasets.by_name}
        # Ends the loop's pause; every dataset is due when somebody asked for a pass.
        self.changed = asyncio.Event()
        self._deletions_since = clock.now()
        self._is_wanted = False
        # What was left to its lanes, by bucket, key and etag: since when, and its partition. Seen
        # first, not put: MinIO's clock may be another than ours.
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
            # What was asked for was not done: the next pass does it.
            self._is_wanted = self._is_wanted or is_wanted
            raise

    async def pause(self) -> float:
        """Seconds until the next dataset is due."""
        if self._is_wanted:
            return 0.0
        waits = [rhythm.due_in(self.interval) for rhythm in self._rhythms.values()]
        return max(0.0, min(waits, default=self.interval))

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
        """Compare the partitions of which a deletion was told; how many.

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
        """Compare datasets (all by default) with bronze, side by side, each by itself.

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
        rhythm = self._rhythms.setdefault(dataset.name, _Rhythm())
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
                page, named, strays = await asyncio.to_thread(
                    _next_page, walk, dataset, self._ledger.datasets
                )
                is_last = len(page) < _PAGE
                upto = None if is_last else page[-1].key
                listed += len(page)
                names.update(named)
                unmatched += strays
                known: dict[str, str] = {}
                etags = {o.key: o.etag for o in page}
                # More than a page where much is gone: so much of it at a time, too.
                async for rows in self._kept(dataset, prefix, after, upto):
                    known |= {row.key: row.etag for row in rows if row.key in etags}
                    missing = [row for row in rows if row.key not in etags]
                    gone |= await self._record_gone(dataset, prefix, missing)
                fresh = [
                    arrival
                    for o in page
                    if known.get(o.key) != o.etag
                    for arrival in arrivals_of(o, dataset, self._ledger, lane)
                    if not self._is_left(arrival, started_at, settled_for)
                ]
                for start in range(0, len(fresh), _RECORDED):
                    reasons = await self._ledger.recording.record(
                        fresh[start : start + _RECORDED], priority=priority
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

    async def _kept(
        self, dataset: Dataset, prefix: str, after: str, upto: str | None
    ) -> AsyncGenerator[list[KeptObject]]:
        """What the ledger holds of a span of keys, in their order, a page at a time."""
        while True:
            rows = await self._ledger.comparison.kept_objects(
                dataset.name, prefix, after=after, upto=upto, limit=_PAGE
            )
            if rows:
                yield rows
            if len(rows) < _PAGE:
                return
            after = rows[-1].key

    def _is_left(self, arrival: Arrival, now: datetime, settled_for: timedelta) -> bool:
        """Whether an object is too young to be called lost."""
        event, partition = arrival.event, arrival.partition
        if partition is None or event.event_at is None or event.event_at <= now - settled_for:
            return False
        name = (event.bucket, event.key, event.etag or "")
        since, _ = self._fresh.setdefault(name, (now, partition))
        return now - since < settled_for

    async def _record_gone(
        self, dataset: Dataset, prefix: str, missing: Sequence[KeptObject]
    ) -> set[Partition]:
        """Forget objects that bronze no longer holds; the partitions that lost any.

        `missing` is in the order of keys. The listing began before the ledger was read: only one
        that began after it says that an object is gone, and what was put again since is another
        row.
        """
        if not missing:
            return set()
        first, last = missing[0].key, missing[-1].key
        present = await asyncio.to_thread(
            lambda: _span(self._bronze.walk(dataset.bucket, prefix, start=first), last)
        )
        lost = [known for known in missing if known.key not in present]
        gone: set[Partition] = set()
        for start in range(0, len(lost), _RECORDED):
            gone |= await self._ledger.comparison.record_gone(
                dataset.bucket, lost[start : start + _RECORDED]
            )
        return gone


def _next_page(
    walk: Iterator[ListedObject], dataset: Dataset, datasets: Datasets
) -> tuple[list[ListedObject], set[str], list[str]]:
    """A page of a listing, the dataset's partitions that it names, and its keys of none."""
    page = list(islice(walk, _PAGE))
    return page, set(_names(page, dataset)), list(_unmatched(page, dataset, datasets))


def _names(page: Sequence[ListedObject], dataset: Dataset) -> Iterator[str]:
    """The partitions of the dataset that a page of its listing names."""
    for o in page:
        found = match(dataset, o.key)
        if isinstance(found, Match):
            yield found.partition.name


def _span(walk: Iterator[ListedObject], last: str) -> set[str]:
    """The keys of a listing up to the last that is of interest."""
    return {listed.key for listed in takewhile(lambda listed: listed.key <= last, walk)}


def _unmatched(page: Sequence[ListedObject], dataset: Dataset, datasets: Datasets) -> Iterator[str]:
    """Keys that lie where the dataset's do, and fit no partition of any dataset."""
    for o in page:
        if match(dataset, o.key) in ("bad-date", "no-partition") and isinstance(
            matches(datasets, dataset.bucket, o.key), str
        ):
            yield o.key


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
