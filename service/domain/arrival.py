"""What an event means for its partition. Pure: the ledger reads, this decides."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from quicksilver.domain.datasets import Datasets
from quicksilver.domain.event import ObjectEvent
from quicksilver.domain.partition import Partition, matches
from quicksilver.domain.reasons import Ignored, Reason

Lane = Literal["fast", "durable", "push", "sweep", "poll"]


@dataclass(frozen=True, slots=True)
class Arrival:
    """One event on its way into the ledger: its content, its source and its partition."""

    event: ObjectEvent
    partition: Partition | None
    ignored: Ignored | None
    lane: Lane
    source: str
    received_at: datetime
    # The trace of the request that delivered it, if any.
    traceparent: str | None = None
    # Its number among the partitions of its key: each has an event of its own.
    place: int = 0

    @property
    def identity(self) -> bytes:
        """32 bytes, equal for one event on both lanes, retried or replayed."""
        event = self.event
        # Many senders have no sequencer: then the time tells two writes of one content apart.
        moment = event.event_at.isoformat() if event.event_at else ""
        parts = (
            event.bucket,
            event.key,
            event.version_id or event.etag or "",
            event.sequencer or moment,
            event.name,
            *((self.partition.dataset,) if self.place and self.partition else ()),
        )
        return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest()


@dataclass(frozen=True, slots=True)
class KnownObject:
    """What the ledger holds of an object."""

    etag: str
    version_id: str | None


def arrivals(
    event: ObjectEvent,
    datasets: Datasets,
    lane: Lane,
    source: str,
    received_at: datetime,
    trace: str | None = None,
) -> list[Arrival]:
    """One arrival per partition of the event; without any, one arrival with the reason."""
    found = matches(datasets, event.bucket, event.key)
    if isinstance(found, Ignored):
        return [Arrival(event, None, event.ignored or found, lane, source, received_at)]
    return [
        Arrival(event, one.partition, event.ignored, lane, source, received_at, trace, n)
        for n, one in enumerate(found)
    ]


def decide(
    arrival: Arrival,
    known: KnownObject | None,
    *,
    is_duplicate: bool,
    skip_unchanged: bool,
    is_paused: bool,
) -> str:
    """The reason code that an event starts its life with.

    `settling` and `paused` raise the generation; the others change nothing.
    """
    if arrival.ignored is not None or arrival.partition is None:
        return Reason.IGNORED.because(arrival.ignored or Ignored.OUTSIDE_DATASETS)
    if is_duplicate:
        return Reason.DUPLICATE
    if skip_unchanged and known is not None and _same(arrival.event, known):
        return Reason.UNCHANGED
    return Reason.PAUSED if is_paused else Reason.SETTLING


def _same(event: ObjectEvent, known: KnownObject) -> bool:
    # The etag alone: versions differ after an overwrite with the very same content.
    return event.etag is not None and event.etag == known.etag
