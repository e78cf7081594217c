"""What an event means: its reason code, its identity, and when its partition is ready."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quicksilver.domain.arrival import Arrival, KnownObject, decide
from quicksilver.domain.datasets import Dataset, Datasets, ReadinessRule
from quicksilver.domain.event import ObjectEvent
from quicksilver.domain.readiness import FolderState, Readiness, needs_folder, readiness
from tests.support.declared import arrive
from tests.support.payloads import KEY

NOW = datetime(2024, 2, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
DATASETS = Datasets(
    datasets=(
        Dataset(
            name="nyc_tlc.yellow_tripdata",
            bucket="datasets",
            key="bronze/nyc_tlc/yellow_tripdata/dt={dt}/{file}",
            deployment="silver-build/nyc-tlc",
        ),
    ),
    path=Path("datasets.yaml"),
)
EVENT = ObjectEvent("ObjectCreated:Put", "datasets", KEY, "etag-1", "v1", 10, "0A", NOW)


def arrival(**changes: str | None) -> Arrival:
    return arrive(replace(EVENT, **changes), DATASETS, "fast", "10.0.0.1", NOW)


def reason(
    which: Arrival,
    known: KnownObject | None = None,
    *,
    is_duplicate: bool = False,
    skip_unchanged: bool = True,
    is_paused: bool = False,
) -> str:
    return decide(
        which,
        known,
        is_duplicate=is_duplicate,
        skip_unchanged=skip_unchanged,
        is_paused=is_paused,
    )


def test_new_content_settles() -> None:
    assert reason(arrival()) == "settling"
    assert reason(arrival(), KnownObject("etag-0", "v0")) == "settling"


def test_the_same_content_is_unchanged_unless_wanted() -> None:
    same = KnownObject("etag-1", "v0")
    assert reason(arrival(), same) == "unchanged"
    assert reason(arrival(), same, skip_unchanged=False) == "settling"


def test_without_an_etag_nothing_is_the_same() -> None:
    assert reason(arrival(etag=None), KnownObject("", None)) == "settling"


def test_a_duplicate_is_one_whatever_else_it_is() -> None:
    same = KnownObject("etag-1", "v1")
    assert reason(arrival(), same, is_duplicate=True, is_paused=True) == "duplicate"


def test_a_paused_dataset_accumulates() -> None:
    assert reason(arrival(), is_paused=True) == "paused"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"name": "ObjectRemoved:Delete"}, "ignored:delete"),
        ({"name": "ObjectCreated:PutTagging"}, "ignored:tagging"),
        ({"bucket": "other"}, "ignored:unknown-bucket"),
        ({"key": "elsewhere/x.parquet"}, "ignored:outside-datasets"),
        ({"key": KEY.replace("2024-01-01", "2024-02-30")}, "ignored:bad-date"),
        ({"key": KEY.replace("data.", "_data.")}, "ignored:other-file"),
        ({"name": "ObjectRemoved:Delete", "bucket": "other"}, "ignored:delete"),
    ],
)
def test_what_is_ignored_says_why(changes: dict[str, str | None], expected: str) -> None:
    which = arrival(**changes)
    assert reason(which) == expected
    # Ignored for good: nothing about the ledger's state turns it into more.
    assert reason(which, KnownObject("x", None), is_duplicate=True, is_paused=True) == expected


def test_a_deleted_object_still_names_its_partition() -> None:
    assert str(arrival(name="ObjectRemoved:Delete").partition).endswith("/2024-01-01")


def test_identity_is_the_same_on_every_way() -> None:
    other = arrive(EVENT, DATASETS, "durable", "10.0.0.2", NOW + SECOND)
    assert arrival().identity == other.identity


@pytest.mark.parametrize(
    "changes",
    [
        {"version_id": "v2"},
        {"sequencer": "0B"},
        {"key": KEY + "x"},
        {"bucket": "datasets2"},
        {"name": "ObjectCreated:Copy"},
        {"version_id": None},
    ],
)
def test_identity_tells_events_apart(changes: dict[str, str | None]) -> None:
    assert arrival(**changes).identity != arrival().identity


texts = st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=20)


@given(st.tuples(texts, texts, texts), st.tuples(texts, texts, texts))
def test_fuzz_identity_never_glues_fields_together(
    one: tuple[str, str, str], two: tuple[str, str, str]
) -> None:
    def identity(fields: tuple[str, str, str]) -> bytes:
        return arrival(bucket=fields[0], key=fields[1], sequencer=fields[2]).identity

    assert (identity(one) == identity(two)) == (one == two)


def rule(**fields: object) -> ReadinessRule:
    return ReadinessRule.model_validate(fields)


def folder(
    files: int = 1,
    *,
    has_marker: bool = False,
    changed: timedelta = timedelta(0),
    dirty: timedelta = timedelta(0),
) -> FolderState:
    return FolderState(files, has_marker, NOW - changed, NOW - dirty)


READY = Readiness(NOW, None)


@pytest.mark.parametrize(
    ("rules", "state", "expected"),
    [
        ({}, folder(), READY),
        ({"any_file": True}, folder(), READY),
        ({}, folder(0), Readiness(None, "0 of 1 files")),
        ({"min_files": 3}, folder(3), READY),
        ({"min_files": 3}, folder(2), Readiness(None, "2 of 3 files")),
        ({"marker": "_SUCCESS"}, folder(has_marker=True), READY),
        ({"marker": "_SUCCESS"}, folder(), Readiness(None, "no _SUCCESS yet")),
        ({"quiet": "30s"}, folder(changed=30 * SECOND), READY),
        (
            {"quiet": "30s"},
            folder(changed=10 * SECOND),
            Readiness(NOW + 20 * SECOND, "quiet for 30 s not reached"),
        ),
        # Combined: all must hold, and every one that does not is named.
        ({"quiet": "30s", "min_files": 2}, folder(2, changed=31 * SECOND), READY),
        (
            {"quiet": "30s", "min_files": 2},
            folder(1, changed=10 * SECOND),
            Readiness(None, "1 of 2 files, quiet for 30 s not reached"),
        ),
        (
            {"quiet": "30s", "min_files": 2},
            folder(1, changed=31 * SECOND),
            Readiness(None, "1 of 2 files"),
        ),
        (
            {"marker": "_SUCCESS", "min_files": 2},
            folder(1),
            Readiness(None, "no _SUCCESS yet, 1 of 2 files"),
        ),
        (
            {"marker": "_SUCCESS", "quiet": "1m"},
            folder(has_marker=True, changed=10 * SECOND),
            Readiness(NOW + 50 * SECOND, "quiet for 60 s not reached"),
        ),
        # max_wait ends every wait, and only shortens it.
        (
            {"marker": "_SUCCESS", "max_wait": "1h"},
            folder(dirty=60 * SECOND),
            Readiness(NOW + 3540 * SECOND, "no _SUCCESS yet"),
        ),
        ({"marker": "_SUCCESS", "max_wait": "1h"}, folder(dirty=3600 * SECOND), READY),
        (
            {"quiet": "30s", "max_wait": "15s"},
            folder(changed=timedelta(0), dirty=5 * SECOND),
            Readiness(NOW + 10 * SECOND, "quiet for 30 s not reached"),
        ),
        (
            {"quiet": "30s", "max_wait": "1h"},
            folder(changed=10 * SECOND, dirty=20 * SECOND),
            Readiness(NOW + 20 * SECOND, "quiet for 30 s not reached"),
        ),
    ],
)
def test_readiness(rules: dict[str, object], state: FolderState, expected: Readiness) -> None:
    assert readiness(rule(**rules), state, NOW) == expected


spans = st.integers(0, 7200).map(lambda seconds: timedelta(seconds=seconds))


@given(
    quiet=st.none() | spans,
    marker=st.none() | st.just("_SUCCESS"),
    least=st.none() | st.integers(1, 5),
    wait=st.none() | spans,
    files=st.integers(0, 6),
    has_marker=st.booleans(),
    changed=spans,
    older=spans,
)
def test_fuzz_readiness_holds_together(
    quiet: timedelta | None,
    marker: str | None,
    least: int | None,
    wait: timedelta | None,
    files: int,
    has_marker: bool,
    changed: timedelta,
    older: timedelta,
) -> None:
    rules = ReadinessRule(quiet=quiet, marker=marker, min_files=least, max_wait=wait)
    state = FolderState(files, has_marker, NOW - changed, NOW - changed - older)
    found = readiness(rules, state, NOW)
    is_ready = found.reason is None
    assert is_ready == (found.due_at == NOW)
    if found.due_at is not None:
        assert found.due_at >= NOW
        # Asked again when it said, with nothing changed, it is ready.
        assert readiness(rules, state, found.due_at).reason is None
    if wait is not None:
        assert found.due_at is not None
        assert found.due_at <= max(NOW, state.dirty_since + wait)
    all_hold = (
        files >= (least or 1)
        and (marker is None or has_marker)
        and (quiet is None or changed >= quiet)
    )
    overdue = wait is not None and state.dirty_since + wait <= NOW
    assert is_ready == (all_hold or overdue)


def test_only_rules_beyond_this_event_need_the_folder() -> None:
    assert not needs_folder(rule(any_file=True, max_wait="1h"))
    assert needs_folder(rule(quiet="1s"))
    assert needs_folder(rule(marker="_SUCCESS"))
    assert needs_folder(rule(min_files=1))
