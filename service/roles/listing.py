"""Compares a listing of bronze with the ledger, a page at a time."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile

from quicksilver.domain.arrival import Arrival, Lane, arrivals
from quicksilver.domain.datasets import Dataset, Datasets
from quicksilver.domain.event import ObjectEvent
from quicksilver.domain.manifest import ListedObject
from quicksilver.domain.partition import Match, Partition, match, matches
from quicksilver.domain.reasons import Ignored
from quicksilver.lake.bronze import Bronze
from quicksilver.ledger import Ledger
from quicksilver.ledger.comparison import KeptObject
from quicksilver.support import clock

# One page of MinIO's listing: compared and recorded before the next one is read.
PAGE = 1000

# Found objects that one commit records: more would block the event loop for too long.
RECORDED = 200


async def kept(
    ledger: Ledger, dataset: Dataset, prefix: str, after: str, upto: str | None
) -> AsyncGenerator[list[KeptObject]]:
    """What the ledger holds of a span of keys, in their order, a page at a time."""
    while True:
        rows = await ledger.comparison.kept_objects(
            dataset.name, prefix, after=after, upto=upto, limit=PAGE
        )
        if rows:
            yield rows
        if len(rows) < PAGE:
            return
        after = rows[-1].key


async def record_gone(
    ledger: Ledger, bronze: Bronze, dataset: Dataset, prefix: str, missing: Sequence[KeptObject]
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
        lambda: _span(bronze.walk(dataset.bucket, prefix, start=first), last)
    )
    lost = [known for known in missing if known.key not in present]
    gone: set[Partition] = set()
    for start in range(0, len(lost), RECORDED):
        gone |= await ledger.comparison.record_gone(dataset.bucket, lost[start : start + RECORDED])
    return gone


@dataclass(frozen=True, slots=True)
class Page:
    """The next objects of a listing; fewer than `PAGE` at its end.

    `partitions` are those of the dataset that they name; `unmatched` the keys that lie where the
    dataset's do, and fit no partition of any dataset.
    """

    objects: list[ListedObject]
    partitions: set[str]
    unmatched: list[str]


def next_page(walk: Iterator[ListedObject], dataset: Dataset, datasets: Datasets) -> Page:
    """The next page of a dataset's listing."""
    objects = list(islice(walk, PAGE))
    partitions: set[str] = set()
    unmatched: list[str] = []
    for o in objects:
        found = match(dataset, o.key)
        if isinstance(found, Match):
            partitions.add(found.partition.name)
        elif found in (Ignored.BAD_DATE, Ignored.NO_PARTITION) and isinstance(
            matches(datasets, dataset.bucket, o.key), str
        ):
            unmatched.append(o.key)
    return Page(objects, partitions, unmatched)


def _span(walk: Iterator[ListedObject], last: str) -> set[str]:
    """The keys of a listing up to the last that is of interest."""
    return {listed.key for listed in takewhile(lambda listed: listed.key <= last, walk)}


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
        # Content may be found again after a change and back: the time tells the findings apart.
        sequencer=f"{listed.last_modified.timestamp():.6f}",
        event_at=listed.last_modified,
    )
    found = arrivals(event, ledger.datasets, lane, lane, clock.now())
    return [one for one in found if one.partition and one.partition.dataset == dataset.name]
