"""Gates: when every partition of a set is built, a deployment is fired, once for each generation.

A set's generation is the sum of what its members were built at: it rises whenever one of them is
built anew, and never falls.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import structlog
from quicksilver.domain.datasets import Gate
from quicksilver.errors import (
    DeploymentNotFoundError,
    LedgerUnavailableError,
    PrefectUnavailableError,
)
from quicksilver.ledger import Ledger
from quicksilver.ledger.listener import wait_for
from quicksilver.orchestrator.deployments import Deployments
from quicksilver.roles.alerts import clear_alert, raise_alert
from quicksilver.support.postgres import Row

_log = structlog.get_logger(__name__)

# Woken by every build that ends; the tick only catches a wake that was missed.
_TICK = 30.0

# What needs somebody first.
_STATES = ("failed", "paused", "running", "pending", "waiting", "gone", "nothing landed")

# The alert of a gate whose deployment Prefect does not know.
_ALERT = "gate"


@dataclass(frozen=True, slots=True)
class Missing:
    """A member that is not built at its newest generation.

    `state` is a partition's, or `gone` (bronze let go of it), or `nothing landed`.
    """

    dataset: str
    dt: date
    state: str

    def __str__(self) -> str:
        return f"{self.dataset}/{self.dt.isoformat()}"


@dataclass(frozen=True, slots=True)
class GateSet:
    """One set of a gate: what it waits for, and the generation at which it is complete."""

    gate: Gate
    key: str
    missing: tuple[Missing, ...]
    generation: int

    @property
    def is_complete(self) -> bool:
        """Whether every member is built at its newest generation."""
        return not self.missing

    @property
    def missing_by_state(self) -> list[tuple[str, list[Missing]]]:
        """What is missing, by state: what needs somebody comes first."""
        groups = [(state, [m for m in self.missing if m.state == state]) for state in _STATES]
        return [(state, members) for state, members in groups if members]

    @property
    def parameters(self) -> dict[str, Any]:
        """The fired run's parameters: scalars only."""
        return {"year": int(self.key)} if self.gate.each == "year" else {"dt": self.key}


def sets_of(gate: Gate, members: Sequence[Row]) -> list[GateSet]:
    """The sets of a gate that have at least one partition in bronze, in their order. Pure.

    `members` are rows with dataset, dt, generation, built_generation and state.
    """
    held: dict[str, dict[tuple[str, date], Row]] = {}
    gone: set[tuple[str, date]] = set()
    for row in members:
        if row["dataset"] not in gate.datasets:
            continue
        if row["state"] == "gone":
            gone.add((row["dataset"], row["dt"]))
            continue
        key = str(row["dt"].year) if gate.each == "year" else row["dt"].isoformat()
        held.setdefault(key, {})[row["dataset"], row["dt"]] = row
    return [_set(gate, key, rows, gone) for key, rows in sorted(held.items())]


def _set(
    gate: Gate,
    key: str,
    rows: Mapping[tuple[str, date], Row],
    gone: Collection[tuple[str, date]],
) -> GateSet:
    if gate.each == "year":
        dts = [date(int(key), month, 1) for month in range(1, 13)]
    else:
        dts = [date.fromisoformat(key)]
    expected = {(dataset, dt) for dataset in gate.datasets for dt in dts} | set(rows)
    missing: list[Missing] = []
    generation = 0
    for dataset, dt in sorted(expected):
        row = rows.get((dataset, dt))
        if row is None:
            is_gone = (dataset, dt) in gone
            missing.append(Missing(dataset, dt, "gone" if is_gone else "nothing landed"))
        elif row["state"] != "built" or row["built_generation"] < row["generation"]:
            missing.append(Missing(dataset, dt, row["state"]))
        else:
            generation += row["built_generation"]
    return GateSet(gate, key, tuple(missing), generation)


@dataclass(frozen=True, slots=True)
class GateView:
    """A set as operators see it: `waiting`, `pending` (complete, about to fire) or `fired`.

    `fired` is the newest firing, if any: a row with generation, fired_at and flow_run_id.
    """

    found: GateSet
    fired: Row | None

    @property
    def state(self) -> str:
        """Where the set is; one that fired and is dirty again waits."""
        if not self.found.is_complete:
            return "waiting"
        is_fired = self.fired is not None and self.fired["generation"] >= self.found.generation
        return "fired" if is_fired else "pending"


async def look_at_gates(ledger: Ledger) -> list[GateView]:
    """Every set of every declared gate: those that wait first, then the newest.

    Raises:
        LedgerUnavailableError: nothing is known.
    """
    gates = ledger.datasets.gates
    if not gates:
        return []
    members = await ledger.gate_members(_members(gates))
    fired = {(row["gate"], row["set_key"]): row for row in await ledger.gate_runs()}
    views = [
        GateView(found, fired.get((gate.name, found.key)))
        for gate in gates
        for found in reversed(sets_of(gate, members))
    ]
    return sorted(views, key=lambda view: ("waiting", "pending", "fired").index(view.state))


def _members(gates: Sequence[Gate]) -> list[str]:
    return sorted({name for gate in gates for name in gate.datasets})


class Gatekeeper:
    """Looks at the gates whenever a build ends, and fires those that are complete."""

    def __init__(self, ledger: Ledger, deployments: Deployments) -> None:
        self._ledger = ledger
        self._deployments = deployments

    async def run(self, changed: asyncio.Event) -> None:
        """Keep the gates until cancelled."""
        while True:
            try:
                await self.run_once()
            except (LedgerUnavailableError, PrefectUnavailableError) as error:
                _log.warning("gates wait", error=str(error))
            await wait_for(changed, _TICK)

    async def run_once(self) -> int:
        """Open what is complete, fire what is open; how many runs were fired.

        A gate whose deployment is not there raises an alert, and holds no other gate up.

        Raises:
            LedgerUnavailableError, PrefectUnavailableError: what is open stays open, and is fired
                by the next pass.
        """
        gates = self._ledger.datasets.gates
        members = await self._ledger.gate_members(_members(gates)) if gates else []
        for gate in gates:
            for found in sets_of(gate, members):
                if found.is_complete and await self._ledger.open_gate(
                    gate.name, found.key, found.generation
                ):
                    _log.info("a gate opened", gate=gate.name, set=found.key)
        fired = 0
        stuck: dict[str, str] = {}
        by_name = {gate.name: gate for gate in gates}
        for row in await self._ledger.unfired_gates():
            gate = by_name.get(row["gate"])
            if gate is None:
                continue
            found = GateSet(gate, row["set_key"], (), row["generation"])
            try:
                fired += await self._fire(found)
            except DeploymentNotFoundError as error:
                stuck[gate.name] = (
                    f"gate {gate.name} cannot fire for {found.key}: {error}, or correct the gate's"
                    " deployment in datasets.yaml"
                )
        await self._tell(stuck)
        return fired

    async def _fire(self, found: GateSet) -> bool:
        gate = found.gate
        run = await self._deployments.create_run(
            gate.deployment,
            parameters=found.parameters,
            key=f"gate/{gate.name}/{found.key}:{found.generation}",
            run_name=f"{gate.name} {found.key} g{found.generation}",
            tags=[f"gate:{gate.name}"],
        )
        return await self._ledger.mark_gate_fired(gate.name, found.key, found.generation, run)

    async def _tell(self, stuck: Mapping[str, str]) -> None:
        for name, text in stuck.items():
            await raise_alert(self._ledger, _ALERT, name, text)
        for row in await self._ledger.alerts(is_open=True, limit=1000):
            if row["kind"] == _ALERT and row["subject"] not in stuck:
                await clear_alert(self._ledger, _ALERT, row["subject"])
