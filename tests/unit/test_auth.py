"""Tokens: every accepted one is compared, and too many wrong ones are counted by address."""

import hmac
from collections.abc import Iterator
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from starlette.datastructures import State

from quicksilver.support import clock
from quicksilver.web import tokens as auth
from quicksilver.web.throttle import FailedLogins, failed_logins
from quicksilver.web.tokens import bearer, is_accepted

OLD, NEW = SecretStr("old-token"), SecretStr("new-token")


@pytest.fixture(autouse=True)
def own_clock() -> Iterator[None]:
    yield
    clock.reset()


@pytest.mark.parametrize(
    ("header", "token"),
    [
        (None, None),
        ("", None),
        ("Bearer abc", "abc"),
        ("bearer abc", "abc"),
        ("BEARER   abc  ", "abc"),
        ("abc", None),
        ("Basic abc", None),
        ("Bearerabc", None),
        ("Token Bearer abc", None),
        ("Bearer", ""),
        ("Bearer ", ""),
        ("Bearer a b", ""),
        ("Bearer abc\tabc", ""),
        ("Bearer Bearer abc", ""),
    ],
)
def test_the_token_of_a_header(header: str | None, token: str | None) -> None:
    assert bearer(header) == token


@pytest.mark.parametrize("presented", [None, "", "wrong", "old-toke", "old-token ", "OLD-TOKEN"])
def test_a_wrong_token_is_refused(presented: str | None) -> None:
    assert not is_accepted(presented, [OLD, NEW])


def test_both_tokens_are_accepted_while_they_rotate() -> None:
    assert is_accepted("old-token", [OLD, NEW])
    assert is_accepted("new-token", [OLD, NEW])
    assert not is_accepted("old-token", [NEW])


def test_nothing_is_accepted_where_none_is_configured() -> None:
    assert not is_accepted("", [])
    assert not is_accepted("", [SecretStr("")])


@pytest.mark.parametrize("presented", ["old-token", "new-token", "wrong", "", "x" * 10_000])
def test_every_token_is_compared_as_a_digest(
    monkeypatch: pytest.MonkeyPatch, presented: str
) -> None:
    compared: list[tuple[bytes, bytes]] = []

    original = hmac.compare_digest

    def compare(one: bytes, two: bytes) -> bool:
        compared.append((one, two))
        return original(one, two)

    monkeypatch.setattr(auth.hmac, "compare_digest", compare)
    is_accepted(presented, [OLD, NEW])
    assert len(compared) == 2, "a match must not end the comparing"
    assert {len(side) for pair in compared for side in pair} == {32}


@given(header=st.text(st.characters(max_codepoint=255)))
def test_fuzz_any_header_is_accepted_or_refused(header: str) -> None:
    scheme, *rest = header.split(" ")
    is_right = scheme.lower() == "bearer" and [part for part in rest if part] == ["old-token"]
    assert is_accepted(bearer(header), [OLD]) == is_right


@given(
    scheme=st.sampled_from(["Bearer", "bearer", "BEARER", "Basic", "Token", "", "Bearer:"]),
    gap=st.text(" \t", max_size=3),
    token=st.sampled_from(["old-token", "old-token ", "new", "old-token old-token", ""]),
)
def test_only_the_scheme_and_one_token_are_accepted(scheme: str, gap: str, token: str) -> None:
    is_right = scheme.lower() == "bearer" and gap.strip(" ") == "" and gap != ""
    accepted = is_accepted(bearer(scheme + gap + token), [OLD])
    assert accepted == (is_right and token.strip() == "old-token")


def test_twenty_failures_are_answered_the_next_must_wait() -> None:
    failures = FailedLogins()
    assert [failures.note("10.0.0.1") for _ in range(20)] == [None] * 20
    assert failures.note("10.0.0.1") == 6
    assert failures.note("10.0.0.1") == 9
    assert failures.note("10.0.0.2") is None, "another address is not punished"


def test_it_never_takes_longer_than_a_minute_to_calm_down() -> None:
    failures = FailedLogins()
    waits = [failures.note("10.0.0.1") for _ in range(1000)]
    assert waits[-1] == 60
    clock.advance(timedelta(seconds=60))
    assert failures.note("10.0.0.1") is None


def test_waiting_as_long_as_told_is_enough() -> None:
    failures = FailedLogins()
    wait = [failures.note("10.0.0.1") for _ in range(25)][-1]
    assert wait
    clock.advance(timedelta(seconds=wait))
    assert failures.note("10.0.0.1") is None


def test_a_clock_that_goes_back_changes_nothing() -> None:
    failures = FailedLogins()
    for _ in range(20):
        failures.note("10.0.0.1")
    clock.advance(timedelta(hours=-1))
    assert failures.note("10.0.0.1") == 6


def test_memory_is_bounded_and_the_loudest_is_kept() -> None:
    failures = FailedLogins(addresses=10)
    wait = None
    for number in range(1000):
        failures.note(f"10.1.{number // 256}.{number % 256}")
        wait = failures.note("10.0.0.1")
    assert len(failures) == 10
    assert wait == 60


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("unknown", "unknown", True),
        ("fe80::1%eth0", "fe80::2%eth0", True),
    ],
)
def test_one_host_is_one_address(one: str, other: str, is_same: bool) -> None:
    failures = FailedLogins(allowed=2)
    failures.note(one)
    failures.note(one)
    assert (failures.note(other) is not None) is is_same


def test_an_application_has_one_count() -> None:
    state = State()
    assert failed_logins(state) is failed_logins(state)
