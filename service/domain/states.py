"""The states of partitions and builds, defined once.

The ledger repeats them in the checks of its tables and in its functions `shown_state`, `is_dirty`
and `is_active`; a test compares the two.
"""

from enum import StrEnum


class PartitionState(StrEnum):
    """What is to be done with a partition, in the order in which people look.

    `paused` is shown and never kept: a dirty partition of a paused dataset.
    """

    FAILED = "failed"
    RUNNING = "running"
    PENDING = "pending"
    WAITING = "waiting"
    PAUSED = "paused"
    BUILT = "built"

    @property
    def is_dirty(self) -> bool:
        """Whether a build of it is still to begin."""
        return self in (PartitionState.WAITING, PartitionState.PENDING)


class BuildState(StrEnum):
    """Where a build is on its way, then how it ended."""

    CLAIMED = "claimed"
    DISPATCHED = "dispatched"
    RUNNING = "running"
    PUBLISHED = "published"
    YIELDED = "yielded"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LOST = "lost"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"

    @property
    def is_active(self) -> bool:
        """Whether it holds its partition: no other build of that may begin."""
        return self in _ACTIVE

    @property
    def has_said_its_end(self) -> bool:
        """Whether its flow is done, and only Prefect's run is still to end."""
        return self in (BuildState.PUBLISHED, BuildState.YIELDED)


_ACTIVE = frozenset(
    {
        BuildState.CLAIMED,
        BuildState.DISPATCHED,
        BuildState.RUNNING,
        BuildState.PUBLISHED,
        BuildState.YIELDED,
    }
)


class Needless(StrEnum):
    """Why a claim needs no build."""

    STALE = "stale"
    """An event came while bronze was listed: list again."""
    UNCHANGED = "unchanged"
    WAITING = "waiting"
    GONE = "gone"
    LOST = "lost"
    """Another dispatcher has it."""
