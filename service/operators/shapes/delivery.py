"""How objects reach the ledger, as the API and the command line give it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from typing_extensions import TypedDict

from quicksilver.operators.reconciling import Reconciliation
from quicksilver.operators.shapes.moments import Moment, moment
from quicksilver.roles.sweep import SweepResult

RECONCILE = "/api/reconcile"


class Compared(TypedDict):
    """What listing a dataset showed: objects, those no event told of, partitions that lost any;
    and the same as a sentence."""

    dataset: str
    listed: int
    found: int
    gone: int
    error: str | None
    sentence: str


class Differing(TypedDict):
    """A partition that is built again: silver held something other than its last build."""

    dataset: str
    partition: str
    why: str


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
    differing: list[Differing]


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
    """Bronze, ledger and silver of a dataset, in partitions; of what differs, up to 20 names."""

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
    unmatched: int
    unknown_names: list[str] | None
    newer_names: list[str] | None
    missing_names: list[str] | None
    unbuilt_names: list[str] | None
    unmatched_names: list[str]


class ShownOrigin(TypedDict):
    """The sources of a dataset's newest events; notifications missed what only a sweep found."""

    dataset: str
    objects: int
    fast: int
    only_durable: int
    only_sweep: int
    only_poll: int
    otherwise: int
    missed_by_notifications: float


class Proven(TypedDict):
    """The proof that nothing was lost, by dataset.

    `origins` look back on `last_events` events; `sweep_found` are the objects that only a sweep
    found, ever.
    """

    proof: list[ShownProof]
    origins: list[ShownOrigin]
    lanes: list[ShownLane]
    sweep_found: int
    last_events: int


def shown_reconciliation(last: Reconciliation | None) -> ShownReconciliation:
    """The comparison of this replica as the API gives it."""
    return {
        "state": last.state if last else "never",
        "started_at": moment(last.started_at) if last else None,
        "ended_at": moment(last.ended_at) if last else None,
        "actor": last.actor if last else None,
        "error": last.error if last else None,
        "look": RECONCILE,
        "datasets": compared(last.results) if last else [],
        "differing": [
            {"dataset": partition.dataset, "partition": partition.name, "why": why}
            for partition, why in sorted(last.differing.items())
        ]
        if last
        else [],
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
            "sentence": r.sentence,
        }
        for r in results
    ]
