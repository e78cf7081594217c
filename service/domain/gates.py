"""Which sets of partitions a gate waits for, and when one is complete. Pure.

A set's generation is the sum of what its members were built at: it rises whenever one of them is
built anew, and never falls.
"""

from calendar import monthrange
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from quicksilver.domain.datasets import Datasets, Gate
from quicksilver.domain.keys import GRAINS, KeyPattern
from quicksilver.domain.states import PartitionState

# States that need an operator come first.
_GONE = "gone"
_NOTHING = "nothing landed"
_STATES = (
    PartitionState.FAILED,
    PartitionState.PAUSED,
    PartitionState.RUNNING,
    PartitionState.PENDING,
    PartitionState.WAITING,
    _GONE,
    _NOTHING,
)

# How much of a partition's time a set's key is: `2024`, `2024-05`, `2024-05-01`, `2024-05-01T13`.
_LENGTHS = {"year": 4, "month": 7, "day": 10, "hour": 13}

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Missing:
    """A member that is not built at its newest generation.

    `state` is a partition's, or `gone` (bronze no longer holds it), or `nothing landed`.
    """

    dataset: str
    partition: str
    state: str

    def __str__(self) -> str:
        return f"{self.dataset}/{self.partition}"


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
        """What is missing, by state: states that need an operator come first."""
        groups = [(state, [m for m in self.missing if m.state == state]) for state in _STATES]
        return [(state, members) for state, members in groups if members]

    @property
    def parameters(self) -> dict[str, Any]:
        """The fired run's parameters: `year` as a number, else the set's key as text."""
        return {"year": int(self.key)} if self.gate.each == "year" else {self.gate.each: self.key}


def sets_of(gate: Gate, members: Sequence[Row], datasets: Datasets) -> list[GateSet]:
    """The sets of a gate that have at least one partition in bronze, in their order. Pure.

    `members` are rows with dataset, partition, dt, generation, built_generation and state.
    """
    held: dict[str, dict[tuple[str, str], Row]] = {}
    gone: set[tuple[str, str]] = set()
    for row in members:
        if row["dataset"] not in gate.datasets or (row["dt"] is None and gate.each in _LENGTHS):
            continue
        member = row["dataset"], row["partition"]
        if row["state"] == _GONE:
            gone.add(member)
            continue
        held.setdefault(_key(gate, row), {})[member] = row
    return [_set(gate, key, rows, gone, datasets) for key, rows in sorted(held.items())]


def _key(gate: Gate, row: Row) -> str:
    if gate.each not in _LENGTHS:
        return row["partition"]
    # A monthly partition belongs to its first day as well.
    time = row["partition"].split("/")[0]
    whole = time if len(time) > len("2024-05-01") else row["dt"].isoformat()
    return whole[: _LENGTHS[gate.each]]


def _set(
    gate: Gate,
    key: str,
    rows: Mapping[tuple[str, str], Row],
    gone: set[tuple[str, str]],
    datasets: Datasets,
) -> GateSet:
    missing: list[Missing] = []
    generation = 0
    expected = set(rows)
    for name in gate.datasets:
        pattern = datasets.get(name).pattern
        for time in _times(gate, key, pattern):
            landed = any(d == name and p.split("/")[0] == time for d, p in rows)
            if not landed:
                expected.add((name, time))
    for dataset, partition in sorted(expected):
        row = rows.get((dataset, partition))
        if row is None:
            is_gone = (dataset, partition) in gone
            state = _GONE if is_gone else _NOTHING
            missing.append(Missing(dataset, partition, state))
        elif row["state"] != PartitionState.BUILT or row["built_generation"] < row["generation"]:
            missing.append(Missing(dataset, partition, row["state"]))
        else:
            generation += row["built_generation"]
    return GateSet(gate, key, tuple(missing), generation)


def _times(gate: Gate, key: str, pattern: KeyPattern) -> Iterator[str]:
    """The times of which a set must hold a partition of a dataset, as partitions are called."""
    if gate.each not in _LENGTHS:
        yield key
        return
    if pattern.grain is None:
        return
    if gate.each == "year":
        # Months, whatever their names: a month is the partition of its first day.
        yield from (pattern.time_name(date(int(key), month, 1)) for month in range(1, 13))
    elif gate.each == "month" and pattern.grain == "day":
        year, month = int(key[:4]), int(key[5:])
        days = range(1, monthrange(year, month)[1] + 1)
        yield from (pattern.time_name(date(year, month, day)) for day in days)
    elif gate.each == "day" and pattern.grain == "hour":
        start = datetime.fromisoformat(key)
        yield from (pattern.time_name(start + timedelta(hours=hour)) for hour in range(24))
    elif GRAINS.index(gate.each) >= GRAINS.index(pattern.grain):
        yield key[: _LENGTHS.get(pattern.grain, len(key))]


def members_of(gates: Sequence[Gate]) -> list[str]:
    """The datasets that gates wait for, sorted."""
    return sorted({name for gate in gates for name in gate.datasets})


_THEN = "then"


def follower_name(dataset: str, deployment: str) -> str:
    """The gate that stands for a deployment which is to follow each built partition."""
    return f"{_THEN}:{dataset}:{deployment}"


def follower_of(gate: str) -> tuple[str, str] | None:
    """Dataset and deployment of such a gate; None for a declared one, whose name has no colon."""
    kind, _, rest = gate.partition(":")
    dataset, _, deployment = rest.partition(":")
    return (dataset, deployment) if kind == _THEN and deployment else None
