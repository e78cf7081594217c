"""Which due partitions are built next, and which of them share a run. Pure.

A slot is a run. Datasets take turns within a priority: the one with the fewest runs is next, so
that the backlog of one does not delay the others. Where a backlog is long, neighbours in its order
share a run; a partition that failed before runs alone.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from quicksilver.domain.partition import Partition
from quicksilver.ledger.rows import partition_of
from quicksilver.support.postgres import Row

# More due partitions of a dataset than this are a backlog: two years of months. Fewer are built
# soonest by runs of their own, and a year that is ingested shows twelve runs.
BACKLOG = 24

# Less than ten partitions a run saves too little of what a run costs.
_LEAST = 10


@dataclass(frozen=True, slots=True)
class ActiveRuns:
    """What a dataset has under way: its runs, and whether any of them has several builds."""

    runs: int = 0
    has_batches: bool = False


_NOTHING = ActiveRuns()


def choose_runs(
    due: Sequence[Row],
    active: Mapping[str, ActiveRuns],
    *,
    slots: int,
    batches: Mapping[str, int],
    on_trial: Collection[str] = (),
) -> list[list[Partition]]:
    """The runs that may start now, first things first, each with its partitions.

    Args:
        due: rows with dataset, the partition, priority, turn, max_running and attempts; those of a
            dataset in the order in which they are to be built.
        active: what is under way, by dataset.
        slots: how many runs may be under way at once.
        batches: how many builds a run of a dataset may have, where its flow takes several.
        on_trial: datasets that were in trouble: one run shows whether they still are.
    """
    rows: dict[str, list[Row]] = {}
    for row in due:
        rows.setdefault(row["dataset"], []).append(row)
    candidates: list[tuple[tuple[float, int, float, str], list[Partition]]] = []
    for name, of_dataset in rows.items():
        under_way = active.get(name, _NOTHING)
        limit = 1 if name in on_trial else min(slots, of_dataset[0]["max_running"] or slots)
        runs = _runs_of(of_dataset, under_way, limit, batches.get(name, 1))
        for number, run in enumerate(runs[: max(0, limit - under_way.runs)], under_way.runs):
            first = run[0]
            turn = (-first["priority"], number, float(first["turn"]), name)
            candidates.append((turn, [partition_of(row) for row in run]))
    free = slots - sum(a.runs for a in active.values())
    return [run for _, run in sorted(candidates, key=lambda c: c[0])[: max(0, free)]]


def most_needed(slots: int, batches: Mapping[str, int]) -> int:
    """How many due partitions of a dataset are enough to choose from."""
    return max(slots * (max(batches.values(), default=1) + 1), BACKLOG + 1)


def _runs_of(rows: Sequence[Row], active: ActiveRuns, limit: int, at_most: int) -> list[list[Row]]:
    sharing = [row for row in rows if row["attempts"] == 0]
    size = 1
    # A backlog that is built in batches stays so to its end; its slots share it evenly.
    if at_most > 1 and (active.has_batches or len(sharing) > BACKLOG):
        size = min(at_most, max(_LEAST, ceil(len(sharing) / limit)))
    shared = {id(sharing[n]): sharing[n : n + size] for n in range(0, len(sharing), size)}
    runs: list[list[Row]] = []
    for row in rows:
        if row["attempts"]:
            runs.append([row])
        elif id(row) in shared:
            runs.append(shared[id(row)])
    return runs
