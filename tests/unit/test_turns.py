"""Whose turn it is: datasets take turns, a backlog shares runs, limits hold."""

from datetime import date, timedelta
from typing import Any

from quicksilver.ledger.turns import BACKLOG, ActiveRuns, choose_runs

_DAY = date(2024, 1, 1)


def due(
    dataset: str, count: int, *, priority: int = 0, attempts: int = 0, limit: int | None = None
) -> list[dict[str, Any]]:
    """Due partitions of a dataset, oldest first."""
    rows: list[dict[str, Any]] = [
        {
            "dataset": dataset,
            "partition": (_DAY + timedelta(days=n)).isoformat(),
            "attempts": attempts,
            "priority": priority,
            "turn": float(n),
            "max_running": limit,
        }
        for n in range(count)
    ]
    return rows


def names(runs: list[list[Any]]) -> list[str]:
    return [run[0].dataset for run in runs]


def test_a_backlog_keeps_no_other_dataset_waiting() -> None:
    rows = [*due("big", 2000), *due("small", 1)]
    assert names(choose_runs(rows, {}, slots=4, batches={})) == ["big", "small", "big", "big"]


def test_whoever_has_less_under_way_is_next() -> None:
    rows = [*due("big", 2000), *due("small", 3)]
    active = {"big": ActiveRuns(2)}
    assert names(choose_runs(rows, active, slots=5, batches={})) == ["small", "small", "big"]


def test_priority_goes_before_turns() -> None:
    rows = [*due("late", 3), *due("urgent", 3, priority=1)]
    assert names(choose_runs(rows, {}, slots=4, batches={})) == ["urgent"] * 3 + ["late"]


def test_one_run_shows_whether_a_misfit_is_well() -> None:
    rows = [*due("sick", 2000), *due("well", 5)]
    runs = choose_runs(rows, {}, slots=4, batches={}, on_trial={"sick"})
    assert sorted(names(runs)) == ["sick", "well", "well", "well"]
    assert (
        choose_runs(due("sick", 9), {"sick": ActiveRuns(1)}, slots=4, batches={}, on_trial={"sick"})
        == []
    )


def test_limits_of_a_dataset_and_of_all() -> None:
    rows = [*due("narrow", 9, limit=2), *due("wide", 9)]
    assert (
        sorted(names(choose_runs(rows, {}, slots=5, batches={}))) == ["narrow"] * 2 + ["wide"] * 3
    )
    assert choose_runs(rows, {"other": ActiveRuns(5)}, slots=5, batches={}) == []


def test_a_backlog_shares_runs_and_what_failed_runs_alone() -> None:
    rows = [*due("many", BACKLOG + 16), *due("many", 1, attempts=1)]
    runs = choose_runs(rows, {}, slots=100, batches={"many": 25})
    assert [len(run) for run in runs] == [10, 10, 10, 10, 1]
    few = choose_runs(due("many", BACKLOG), {}, slots=100, batches={"many": 25})
    assert {len(run) for run in few} == {1}
    rest = choose_runs(due("many", 5), {"many": ActiveRuns(1, True)}, slots=4, batches={"many": 25})
    assert [len(run) for run in rest] == [5]
