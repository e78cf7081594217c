"""What the API and the command line give out: the same names and numbers in both."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import WithJsonSchema
from typing_extensions import TypedDict

from quicksilver.operators.condition import condition
from quicksilver.operators.gates import GateView
from quicksilver.operators.reconciling import Reconciliation
from quicksilver.roles.sweep import SweepResult
from quicksilver.support.postgres import Row

State = Literal["waiting", "pending", "running", "built", "failed", "paused"]

# ISO 8601, in UTC.
Moment = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]


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
    `bronze only`, `gone` and the like; `readers` says what readers of silver see now.
    """

    dataset: str
    partition: str
    dt: str | None
    state: State
    detail: str
    readers: str
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
    """Partitions in order; `next`, given as `after`, continues them."""

    partitions: list[ShownPartition]
    next: str | None


class Raised(TypedDict):
    """The generation that a rebuild will have."""

    dataset: str
    partition: str
    generation: int


class RaisedMany(TypedDict):
    """How many partitions a bulk rebuild took."""

    partitions: int


class Silenced(TypedDict):
    """An alert that nobody is told of for so many minutes."""

    id: int
    subject: str
    minutes: int


class Missing(TypedDict):
    """A partition that a gate waits for."""

    dataset: str
    partition: str
    state: str


class ShownGate(TypedDict):
    """A gate's set; `generation` is null while anything is missing."""

    gate: str
    set: str
    deployment: str
    state: Literal["waiting", "pending", "fired"]
    missing: list[Missing]
    generation: int | None
    fired_generation: int | None
    fired_at: Moment | None
    flow_run_id: str | None


class Gates(TypedDict):
    """Every set of every gate, those that wait first."""

    gates: list[ShownGate]


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


class Outcome(TypedDict):
    """What became of a quarantined body."""

    id: int
    outcome: str


class Switched(TypedDict):
    """Whether a dataset is paused now, and whether the call changed it."""

    dataset: str
    paused: bool
    changed: bool


class Compared(TypedDict):
    """What listing a dataset showed: objects, those no event told of, partitions that lost any."""

    dataset: str
    listed: int
    found: int
    gone: int
    error: str | None


class ShownReconciliation(TypedDict):
    """The comparison that runs, or the last one of this replica.

    `look` is where to ask for it again; `datasets` are those compared, once it is `done`.
    """

    state: Literal["never", "running", "done", "failed"]
    started_at: Moment | None
    ended_at: Moment | None
    actor: str | None
    error: str | None
    look: str
    datasets: list[Compared]


class ShownEvent(TypedDict):
    """An event; `reason` says why it did or did not fire, `deliveries` how often it came.

    What failed stays `failed`: `outcome` says what made it good.
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


class ShownBuild(TypedDict):
    """One attempt to bring silver to a generation: one Prefect flow run."""

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


class Builds(TypedDict):
    """A partition's builds, newest first."""

    builds: list[ShownBuild]


class Explained(TypedDict):
    """Everything that happened to one object, and a sentence that says why."""

    key: str
    summary: str
    events: list[ShownEvent]
    builds: list[ShownBuild]
    quarantined: list[ShownQuarantined]


class ShownAlert(TypedDict):
    """What somebody must know of; open while `cleared_at` is null."""

    id: int
    kind: str
    subject: str
    text: str
    count: int
    link: str
    raised_at: datetime
    cleared_at: datetime | None
    told_at: datetime | None
    silenced_until: datetime | None
    silenced_by: str | None
    silenced_for: str | None


class Alerts(TypedDict):
    """Alerts, newest first."""

    alerts: list[ShownAlert]


class ShownAction(TypedDict):
    """What an operator did."""

    at: datetime
    actor: str
    action: str
    subject: str


class ActionLog(TypedDict):
    """What operators did, newest first."""

    actions: list[ShownAction]


class ShownDataset(TypedDict):
    """A dataset with the number of its partitions in each state."""

    name: str
    is_declared: bool
    paused_at: datetime | None
    paused_by: str | None
    paused_for: str | None
    partitions: dict[str, int]


class DatasetList(TypedDict):
    """Every dataset that the ledger knows."""

    datasets: list[ShownDataset]


class ShownLane(TypedDict):
    """What the newest canary of a bucket showed; lags in seconds.

    A lane is `up`, `late`, `silent`, `unknown`, or `none` where its store has no such lane.
    """

    bucket: str
    at: datetime
    fast_state: str
    fast_lag: float | None
    durable_state: str
    durable_lag: float | None
    fault: str | None


class Lanes(TypedDict):
    """The lanes of every bucket."""

    lanes: list[ShownLane]


class ShownProof(TypedDict):
    """Bronze, ledger and silver of a dataset, in partitions, and what makes them differ."""

    dataset: str
    is_declared: bool
    compared_at: datetime | None
    objects_listed: int | None
    objects_found: int | None
    in_bronze: int | None
    in_ledger: int
    built: int
    unknown: int
    newer: int
    missing: int
    unbuilt: int


class Proven(TypedDict):
    """The proof that nothing was lost, by dataset."""

    proof: list[ShownProof]


def timeline(row: Row) -> Timeline:
    """A partition's way from PUT to silver, as the API gives it."""
    return Timeline(
        put_at=_moment(row["put_at"]),
        received_at=_moment(row["received_at"]),
        dispatched_at=_moment(row["dispatched_at"]),
        started_at=_moment(row["started_at"]),
        loaded_at=_moment(row["loaded_at"]),
        built_at=_moment(row["built_at"]),
    )


def _moment(value: datetime | None) -> str | None:
    return value.isoformat() if value else None


def shown(row: Row) -> ShownPartition:
    """A partition as the API and the command line give it."""
    found = condition(row)
    return {
        "dataset": row["dataset"],
        "partition": row["partition"],
        "dt": row["dt"].isoformat() if row["dt"] else None,
        "state": row["shown_state"],
        "detail": found.detail,
        "readers": found.readers,
        "generation": row["generation"],
        "built_generation": row["built_generation"],
        "attempts": row["attempts"],
        "flow_run_id": str(row["flow_run_id"]) if row["flow_run_id"] else None,
        "error": row["error"],
        "wait_reason": row["wait_reason"],
        "gone_at": _moment(row["gone_at"]),
        "rows_bronze": row["rows_bronze"],
        "rows_silver": row["rows_silver"],
        "rows_rejected": row["rows_rejected"],
        "timeline": timeline(row),
    }


def shown_gate(view: GateView) -> ShownGate:
    """A gate's set as the API gives it; `generation` is None while anything is missing."""
    found, fired = view.found, view.fired
    return {
        "gate": found.gate.name,
        "set": found.key,
        "deployment": found.gate.deployment,
        "state": view.state,
        "missing": [
            {"dataset": m.dataset, "partition": m.partition, "state": m.state}
            for m in found.missing
        ],
        "generation": found.generation if found.is_complete else None,
        "fired_generation": fired["generation"] if fired else None,
        "fired_at": _moment(fired["fired_at"]) if fired else None,
        "flow_run_id": str(fired["flow_run_id"]) if fired and fired["flow_run_id"] else None,
    }


RECONCILE = "/api/reconcile"


def shown_reconciliation(last: Reconciliation | None) -> ShownReconciliation:
    """The comparison of this replica as the API gives it."""
    return {
        "state": last.state if last else "never",
        "started_at": _moment(last.started_at) if last else None,
        "ended_at": _moment(last.ended_at) if last else None,
        "actor": last.actor if last else None,
        "error": last.error if last else None,
        "look": RECONCILE,
        "datasets": compared(last.results) if last else [],
    }


def compared(results: Sequence[SweepResult]) -> list[Compared]:
    """What a sweep saw, as the API and the command line give it."""
    return [
        {
            "dataset": r.dataset,
            "listed": r.listed,
            "found": r.found,
            "gone": r.gone,
            "error": r.error,
        }
        for r in results
    ]
