"""Which sets a gate has, what they wait for, and when their generation rises."""

from datetime import date
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from quicksilver.domain.datasets import Dataset, Datasets, Gate
from quicksilver.domain.gates import GateSet, Missing, sets_of
from quicksilver.operators.gates import GateView

YEAR = Gate(name="gold-year", datasets=("a",), each="year", deployment="gold-year/x")
SAME_DT = Gate(name="joined", datasets=("a", "b"), each="dt", deployment="joined/x")

DATASETS = Datasets(
    datasets=tuple(
        Dataset(
            name=name, bucket="lake", key=f"{name}/{{dt}}/{{file}}", deployment="silver-build/x"
        )
        for name in ("a", "b")
    ),
    path=Path("datasets.yaml"),
)


def found_sets(gate: Gate, members: list[dict[str, Any]]) -> list[GateSet]:
    return sets_of(gate, members, DATASETS)


def member(dataset: str, dt: date, generation: int = 1, built: int = 1) -> dict[str, Any]:
    state = "built" if built == generation else "pending"
    return {
        "dataset": dataset,
        "partition": dt.isoformat(),
        "dt": dt,
        "generation": generation,
        "built_generation": built,
        "state": state,
    }


def months(count: int) -> list[dict[str, Any]]:
    return [member("a", date(2019, month, 1)) for month in range(1, count + 1)]


def test_a_year_is_complete_with_its_twelfth_month() -> None:
    (eleven,) = found_sets(YEAR, months(11))
    assert not eleven.is_complete
    assert eleven.missing == (Missing("a", "2019-12-01", "nothing landed"),)
    (twelve,) = found_sets(YEAR, months(12))
    assert twelve.is_complete
    assert twelve.parameters == {"year": 2019}


def test_a_member_that_bronze_let_go_is_missing_and_said_to_be_gone() -> None:
    rows = [*months(11), {**member("a", date(2019, 12, 1)), "state": "gone"}]
    (found,) = found_sets(YEAR, rows)
    assert found.missing == (Missing("a", "2019-12-01", "gone"),)
    # What lies outside the set's months is no member when it is gone, and makes no set.
    assert found_sets(YEAR, [{**member("a", date(2018, 1, 5)), "state": "gone"}]) == []


def test_what_needs_somebody_is_named_first() -> None:
    failed = {**member("a", date(2019, 11, 1), 2, 1), "state": "failed"}
    (found,) = found_sets(YEAR, [*months(10), failed])
    assert [(state, list(map(str, members))) for state, members in found.missing_by_state] == [
        ("failed", ["a/2019-11-01"]),
        ("nothing landed", ["a/2019-12-01"]),
    ]


def test_a_member_that_is_dirty_again_closes_the_set() -> None:
    rows = [*months(11), member("a", date(2019, 12, 1), generation=2, built=1)]
    (found,) = found_sets(YEAR, rows)
    assert found.missing == (Missing("a", "2019-12-01", "pending"),)


def test_the_same_dt_of_every_dataset() -> None:
    day = date(2024, 5, 1)
    (half,) = found_sets(SAME_DT, [member("a", day)])
    assert [str(member) for member in half.missing] == ["b/2024-05-01"]
    (whole,) = found_sets(SAME_DT, [member("a", day), member("b", day)])
    assert whole.is_complete
    assert whole.parameters == {"dt": "2024-05-01"}


def test_other_datasets_are_no_members() -> None:
    assert found_sets(YEAR, [member("b", date(2019, 1, 1))]) == []


def test_a_set_waits_then_is_pending_then_fired_and_waits_again() -> None:
    (eleven,) = found_sets(YEAR, months(11))
    (twelve,) = found_sets(YEAR, months(12))
    assert GateView(eleven, None).state == "waiting"
    assert GateView(twelve, None).state == "pending"
    assert GateView(twelve, {"generation": 12}).state == "fired"
    assert GateView(twelve, {"generation": 11}).state == "pending"
    assert GateView(eleven, {"generation": 12}).state == "waiting"


@given(st.lists(st.integers(1, 50), min_size=12, max_size=12), st.integers(0, 11))
def test_a_rebuilt_member_raises_the_generation(generations: list[int], position: int) -> None:
    def rows(numbers: list[int]) -> list[dict[str, Any]]:
        return [member("a", date(2019, m + 1, 1), g, g) for m, g in enumerate(numbers)]

    before = found_sets(YEAR, rows(generations))[0]
    generations[position] += 1
    assert found_sets(YEAR, rows(generations))[0].generation > before.generation
