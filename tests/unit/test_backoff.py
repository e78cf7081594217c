"""Waits between tries: they grow, end at the cap, and spread."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from quicksilver.support.backoff import BUILD_BASE, BUILD_CAP, build_delay, delay


@given(attempt=st.integers(1, 10_000), base=st.floats(0.001, 100), cap=st.floats(0.001, 10_000))
def test_fuzz_a_wait_lies_between_half_and_whole(attempt: int, base: float, cap: float) -> None:
    full = min(cap, base * 2 ** min(attempt - 1, 30))
    assert full / 2 <= delay(attempt, base=base, cap=cap) <= full


def test_it_doubles_until_the_cap() -> None:
    longest = [max(delay(n, base=5, cap=600) for _ in range(200)) for n in range(1, 12)]
    for attempt, seconds in enumerate(longest, start=1):
        full = min(600, 5 * 2 ** (attempt - 1))
        assert 0.9 * full < seconds <= full


def test_builds_wait_from_seconds_to_minutes() -> None:
    assert timedelta(seconds=BUILD_BASE / 2) <= build_delay(1) <= timedelta(seconds=BUILD_BASE)
    assert build_delay(1000) <= timedelta(seconds=BUILD_CAP)
