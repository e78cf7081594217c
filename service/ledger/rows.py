"""What the ledger hands out, and how values get into its statements and back."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from quicksilver.domain.datasets import Datasets
from quicksilver.domain.manifest import ManifestFile
from quicksilver.domain.partition import Partition
from quicksilver.domain.states import BuildState, Needless
from quicksilver.support import clock
from quicksilver.support.postgres import Database, Row

# How far ahead "not before something more lands" lies for Postgres.
NEVER = "infinity"


class LedgerPart:
    """What every part of the ledger works with: the database, and what is declared."""

    def __init__(self, database: Database, datasets: Datasets) -> None:
        self.database = database
        self.datasets = datasets


@dataclass(frozen=True, slots=True)
class ClaimedBuild:
    """A build that this owner has to bring to Prefect."""

    id: int
    partition: Partition
    generation: int
    claimed_at: datetime
    # The run that it shares with other builds; None: a run of its own.
    run_key: str | None = None
    # Its dataset was paused after the claim.
    is_paused: bool = False


@dataclass(frozen=True, slots=True)
class SealedBuild:
    """A build whose generation, key and manifest are fixed."""

    id: int
    partition: Partition
    generation: int
    attempt: int
    idempotency_key: str
    claimed_at: datetime
    run_key: str | None = None
    # What it reads.
    files: tuple[ManifestFile, ...] = ()


@dataclass(frozen=True, slots=True)
class NoBuild:
    """A claim that needs no run."""

    why: Needless


@dataclass(frozen=True, slots=True)
class ActiveBuild:
    """A build between its claim and the end of its Prefect run."""

    id: int
    partition: Partition
    generation: int
    state: BuildState
    flow_run_id: UUID | None
    deadline_at: datetime | None
    abandoned_at: datetime | None
    cancel_requested_at: datetime | None
    error: str | None
    is_held: bool
    # The data caused its error: another try of the same content would end the same way.
    is_final: bool = False
    started_at: datetime | None = None

    @property
    def is_late(self) -> bool:
        """Whether its time is over."""
        return self.deadline_at is not None and self.deadline_at < clock.now()


@dataclass(frozen=True, slots=True)
class BegunBuild:
    """What a flow run needs to build: read exactly the manifest, publish under the id."""

    id: int
    partition: Partition
    generation: int
    attempt: int
    manifest: tuple[ManifestFile, ...]
    traceparent: str | None = None


def as_json(items: Any) -> str:
    """Rows for `jsonb_to_recordset`: one parameter however many rows."""
    return orjson.dumps(items).decode()


def where_of(partition: Partition) -> dict[str, Any]:
    """A partition as statement parameters."""
    return {
        "dataset": partition.dataset,
        "partition": partition.name,
        "dt": partition.day,
    }


def partition_of(row: Row) -> Partition:
    """The partition that a row is about."""
    return Partition(row["dataset"], row["partition"], row.get("dt"))
