"""Partitions and their builds, as the API and the command line give them."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from typing_extensions import TypedDict

from quicksilver.operators.condition import condition
from quicksilver.operators.shapes.moments import Moment, moment
from quicksilver.support.postgres import Row

State = Literal["waiting", "pending", "running", "built", "failed", "paused"]


class Timeline(TypedDict):
    """A partition's way from PUT to silver; null where it has not come yet."""

    put_at: Moment | None
    received_at: Moment | None
    dispatched_at: Moment | None
    started_at: Moment | None
    loaded_at: Moment | None
    built_at: Moment | None


class ShownPartition(TypedDict):
    """A partition; `rows_*` are counts of its newest build that ended.

    `detail` is a finer word than `state`: `queued`, `retrying at 20:01:24`, `built with warnings`,
    `bronze only`, `gone` and the like. `happening` says what is wrong or going on, `readers` what
    readers of silver see now, `todo` what a person would do.
    """

    dataset: str
    partition: str
    dt: str | None
    state: State
    detail: str
    happening: str
    readers: str
    todo: str
    generation: int
    built_generation: int
    attempts: int
    flow_run_id: str | None
    error: str | None
    wait_reason: str | None
    gone_at: Moment | None
    rows_bronze: int | None
    rows_silver: int | None
    rows_rejected: int | None
    timeline: Timeline


class PartitionPage(TypedDict):
    """Partitions in order; `next`, given as `after`, continues those by name.

    `found` is how many there are without the limit, where they were searched for.
    """

    partitions: list[ShownPartition]
    found: int | None
    next: str | None


class Raised(TypedDict):
    """The generation that a rebuild will have."""

    dataset: str
    partition: str
    generation: int


class RaisedMany(TypedDict):
    """How many partitions a bulk rebuild took; `left` are more of them, for another call."""

    partitions: int
    left: int


class ShownBuild(TypedDict):
    """One attempt to bring silver to a generation: one Prefect flow run, of `run_builds` builds.

    `failed_rows` of a dbt test are shown to operators alone, and not everywhere.
    """

    id: int
    generation: int
    attempt: int | None
    state: str
    flow_run_id: UUID | None
    claimed_at: datetime
    dispatched_at: datetime | None
    started_at: datetime | None
    loaded_at: datetime | None
    published_at: datetime | None
    finished_at: datetime | None
    error: str | None
    rows_bronze: int | None
    rows_silver: int | None
    rows_rejected: int | None
    run_builds: int
    failed_rows: list[Any] | None


class Builds(TypedDict):
    """A partition's builds, newest first."""

    builds: list[ShownBuild]


def timeline(row: Row) -> Timeline:
    """A partition's way from PUT to silver, as the API gives it."""
    return Timeline(
        put_at=moment(row["put_at"]),
        received_at=moment(row["received_at"]),
        dispatched_at=moment(row["dispatched_at"]),
        started_at=moment(row["started_at"]),
        loaded_at=moment(row["loaded_at"]),
        built_at=moment(row["built_at"]),
    )


def shown(row: Row) -> ShownPartition:
    """A partition as the API and the command line give it."""
    found = condition(row)
    return {
        "dataset": row["dataset"],
        "partition": row["partition"],
        "dt": row["dt"].isoformat() if row["dt"] else None,
        "state": row["shown_state"],
        "detail": found.detail,
        "happening": found.happening,
        "readers": found.readers,
        "todo": found.todo,
        "generation": row["generation"],
        "built_generation": row["built_generation"],
        "attempts": row["attempts"],
        "flow_run_id": str(row["flow_run_id"]) if row["flow_run_id"] else None,
        "error": row["error"],
        "wait_reason": row["wait_reason"],
        "gone_at": moment(row["gone_at"]),
        "rows_bronze": row["rows_bronze"],
        "rows_silver": row["rows_silver"],
        "rows_rejected": row["rows_rejected"],
        "timeline": timeline(row),
    }
