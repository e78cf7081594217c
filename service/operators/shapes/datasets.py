"""Datasets, gates, alerts and actions, as the API and the command line give them."""

from datetime import datetime
from typing import Literal

from typing_extensions import TypedDict

from quicksilver.operators.gates import GateView
from quicksilver.operators.shapes.moments import Moment, moment


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


class Switched(TypedDict):
    """Whether a dataset is paused now, and whether the call changed it."""

    dataset: str
    paused: bool
    changed: bool


class Missing(TypedDict):
    """A partition that a gate waits for."""

    dataset: str
    partition: str
    state: str


class ShownGate(TypedDict):
    """A gate's set; `generation` is null while anything is `missing`, the worst of it first."""

    gate: str
    set: str
    datasets: list[str]
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


class ShownAlert(TypedDict):
    """Trouble that an operator must know about; open while `cleared_at` is null."""

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


class Silenced(TypedDict):
    """An alert that is silenced for so many minutes."""

    id: int
    subject: str
    minutes: int


class ShownAction(TypedDict):
    """What an operator did."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str


class ActionLog(TypedDict):
    """What operators did, newest first; `next`, given as `before`, continues them."""

    actions: list[ShownAction]
    next: int | None


def shown_gate(view: GateView) -> ShownGate:
    """A gate's set as the API gives it; `generation` is None while anything is missing."""
    found, fired = view.found, view.fired
    return {
        "gate": found.gate.name,
        "set": found.key,
        "datasets": list(found.gate.datasets),
        "deployment": found.gate.deployment,
        "state": view.state,
        "missing": [
            {"dataset": m.dataset, "partition": m.partition, "state": m.state}
            for _, members in found.missing_by_state
            for m in members
        ],
        "generation": found.generation if found.is_complete else None,
        "fired_generation": fired["generation"] if fired else None,
        "fired_at": moment(fired["fired_at"]) if fired else None,
        "flow_run_id": str(fired["flow_run_id"]) if fired and fired["flow_run_id"] else None,
    }
