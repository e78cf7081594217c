"""Events, what became of an object, and quarantine, as the API and the command line give them."""

from datetime import datetime

from typing_extensions import TypedDict

from quicksilver.operators.shapes.partitions import ShownBuild


class ShownEvent(TypedDict):
    """An event; `reason` says why it did or did not fire, `deliveries` how often it came.

    What failed stays `failed`: `outcome` says what resolved it.
    """

    id: int
    event_name: str
    bucket: str
    key: str
    dataset: str | None
    partition: str | None
    generation: int | None
    etag: str | None
    version_id: str | None
    size: int | None
    event_at: datetime | None
    received_at: datetime
    fast_at: datetime | None
    durable_at: datetime | None
    deliveries: int
    source: str
    reason: str
    outcome: str | None


class EventPage(TypedDict):
    """Events, newest first; `next`, given as `before`, continues them."""

    events: list[ShownEvent]
    next: int | None


class ShownQuarantined(TypedDict):
    """A quarantined body without its bytes; `size` in bytes."""

    id: int
    reason: str
    lane: str
    source: str
    first_seen: datetime
    last_seen: datetime
    count: int
    size: int


class QuarantinePage(TypedDict):
    """What is in quarantine, newest first."""

    quarantine: list[ShownQuarantined]


class ShownBody(ShownQuarantined):
    """A quarantined body; bytes that are not UTF-8 stand as `\\xNN`."""

    meaning: str
    body: str


class Outcome(TypedDict):
    """What became of a quarantined body."""

    id: int
    outcome: str


class Fit(TypedDict):
    """What a key is to one dataset: a partition, or none and the reason why."""

    dataset: str
    partition: str | None
    reason: str
    why: str


class Explained(TypedDict):
    """Everything that happened to one object, and a sentence that says why.

    `facts` are sentences of what the key fits and what the store holds of it now.
    """

    key: str
    summary: str
    facts: list[str]
    fits: list[Fit]
    events: list[ShownEvent]
    builds: list[ShownBuild]
    quarantined: list[ShownQuarantined]
