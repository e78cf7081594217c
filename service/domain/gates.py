"""Which sets of partitions a gate waits for, and when one is complete. Pure.

A set's generation is the sum of what its members were built at: it rises whenever one of them is
built anew, and never falls.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from quicksilver.domain.datasets import Gate
from quicksilver.support.postgres import Row

# What needs somebody first.
_STATES = ("failed", "paused", "running", "pending", "waiting", "gone", "nothing landed")


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


def members_of(gates: Sequence[Gate]) -> list[str]:
    return sorted({name for gate in gates for name in gate.datasets})
