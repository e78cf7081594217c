"""What a partition is said to be like: the finer word and the three sentences."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from quicksilver.operators.condition import condition
from quicksilver.support import clock

AT = datetime(2024, 1, 2, 18, 57, tzinfo=UTC)


def row(**changes: Any) -> dict[str, Any]:
    """A partition that is built, unless it is said otherwise."""
    return {
        "shown_state": "built",
        "generation": 1,
        "built_generation": 1,
        "attempts": 0,
        "error": None,
        "wait_reason": None,
        "due_at": None,
        "gone_at": None,
        "built_at": AT,
        "built_manifest": [{"key": "k"}],
        "rows_bronze": 10_000,
        "rows_silver": 9_925,
        "rows_rejected": 75,
        "build_state": None,
        "warnings": 0,
        **changes,
    }


def test_a_failed_partition_says_what_readers_see_now() -> None:
    found = condition(
        row(shown_state="failed", generation=2, error="k: required column id is missing\nTrace")
    )
    assert found.detail == "failed"
    assert found.happening == "It failed: k: required column id is missing"
    assert found.readers == (
        "Silver still serves generation 1, since 2024-01-02 18:57 UTC, 9,925 rows."
    )
    assert found.todo.startswith("Fix the cause, then rebuild it")


def test_nothing_built_is_said() -> None:
    found = condition(
        row(shown_state="failed", built_generation=0, rows_silver=None, built_at=None)
    )
    assert found.readers == "Readers see nothing of it yet."


@pytest.mark.parametrize(
    ("build", "detail"),
    [
        ("claimed", "waiting for Prefect"),
        ("dispatched", "queued"),
        ("running", "building"),
        ("published", "ending"),
        (None, "building"),
    ],
)
def test_running_says_who_has_it(build: str | None, detail: str) -> None:
    assert condition(row(shown_state="running", generation=2, build_state=build)).detail == detail


def test_a_retry_says_when() -> None:
    due = clock.now() + timedelta(minutes=1)
    found = condition(
        row(shown_state="pending", generation=2, attempts=2, due_at=due, error="no answer")
    )
    assert found.detail == f"retrying at {due:%H:%M:%S}"
    assert found.happening.startswith("Attempt 2 failed: no answer. The next begins at")


@pytest.mark.parametrize(
    ("changes", "warnings", "detail"),
    [
        ({}, 0, "built"),
        ({}, 1, "built with warnings"),
        ({"rows_silver": 250, "rows_rejected": 9_750}, 0, "built with warnings"),
        ({"rows_silver": None, "rows_rejected": None}, 0, "bronze only"),
        ({"gone_at": AT}, 0, "gone"),
        ({"shown_state": "paused"}, 0, "paused"),
        ({"shown_state": "waiting", "wait_reason": "no _SUCCESS yet"}, 0, "waiting"),
        ({"shown_state": "pending"}, 0, "next in turn"),
    ],
)
def test_the_finer_word(changes: dict[str, Any], warnings: int, detail: str) -> None:
    found = condition(row(**changes, warnings=warnings))
    assert found.detail == detail
    assert found.is_warning == (detail in ("built with warnings", "bronze only"))


def test_ninety_seven_percent_rejected_is_said() -> None:
    found = condition(row(rows_silver=250, rows_rejected=9_750))
    assert found.happening == "97.5% of its rows were rejected (9,750 of 10,000)."


def test_an_emptied_partition_is_nothing_to_readers() -> None:
    found = condition(row(gone_at=AT, built_manifest=[]))
    assert found.readers == "Readers see nothing of it: silver was emptied."
