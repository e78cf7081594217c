"""What the operators' pages say, and where they lead: pure parts, without a browser."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import HTTPConnection

from quicksilver.domain.reasons import meaning_of
from quicksilver.intake.group_commit import REFUSED
from quicksilver.settings import Settings, load_settings
from quicksilver.support import clock
from quicksilver.support.text import escape_control_characters
from quicksilver.web.pages.calendar import days_of_months, months_of_years
from quicksilver.web.pages.formats import age, hex_dump, share, size, span
from quicksilver.web.pages.login import local_path
from quicksilver.web.pages.quarantine import readable
from quicksilver.web.pages.timeline import way
from quicksilver.web.sessions import COOKIE, is_local_name, is_own_origin, log_in, session_of
from tests.support.checkout import PROJECT

_START = datetime(2024, 1, 1, tzinfo=UTC)


def _row(dt: str, state: str = "built", generation: int = 2, built: int = 2) -> dict[str, Any]:
    return {
        "partition": dt,
        "dt": date.fromisoformat(dt),
        "shown_state": state,
        "generation": generation,
        "built_generation": built,
    }


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0031, "3 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.00 s"),
        (59.99, "60.0 s"),
        (59.996, "1 min"),
        (61, "1 min 1 s"),
        (3599.6, "1 h"),
        (90_000, "1 d 1 h"),
        (-0.2, "-200 ms"),
        (None, "–"),  # noqa: RUF001
    ],
)
def test_spans(seconds: float | None, text: str) -> None:
    assert span(seconds) == text


def test_sizes_shares_and_ages() -> None:
    assert size(1023) == "1023 B"
    assert size(180 * 1024) == "180.0 KiB"
    assert share(99_999, 100_000) == "99.9 %"
    assert share(5, 5) == "100 %"
    assert share(0, 0) == "–"  # noqa: RUF001
    assert age(clock.now() - timedelta(hours=25)) == "1 d"
    assert age(clock.now() + timedelta(hours=1)) == "0 s"


@given(st.text() | st.text(st.characters(categories=["Cc", "Cf", "Cs"])))
def test_foreign_text_becomes_visible(text: str) -> None:
    assert escape_control_characters(text).isprintable()


def test_what_turns_writing_round_is_spelled_out() -> None:
    assert escape_control_characters("a\u202eb\x1b\U000e0041") == "a\\u202eb\\x1b\\U000e0041"
    assert escape_control_characters("a\nb", keep="\n") == "a\nb"


@given(st.binary(max_size=400))
def test_any_body_is_readable(body: bytes) -> None:
    assert readable(body).replace("\n", "").replace("\t", "").isprintable()
    assert len(hex_dump(body).splitlines()) == (len(body) + 15) // 16


def test_deep_json_is_shown_as_it_came() -> None:
    assert readable(b"[" * 3000) == "[" * 3000
    assert readable(b'{"a":1}') == '{\n  "a": 1\n}'


def test_a_calendar_of_months_shows_what_is_missing_between() -> None:
    calendar = months_of_years([_row("2019-02-01"), _row("2020-01-01", "failed", 3)])
    assert [name for name, _ in calendar.rows] == ["2020", "2019"]
    (_, last), (_, first) = calendar.rows
    assert [cell.state if cell else None for cell in first] == [None, "built"] + ["missing"] * 10
    assert [cell.state if cell else None for cell in last] == ["failed"] + [None] * 11
    cell = last[0]
    assert cell is not None
    assert cell.label == "2020-01-01: failed, generation 3, built 2"


def test_a_calendar_of_days_has_no_thirtieth_of_february() -> None:
    calendar = days_of_months([_row("2024-02-28"), _row("2024-03-02", "paused")], 2024)
    assert [name for name, _ in calendar.rows] == ["2024-03", "2024-02"]
    february = calendar.rows[1][1]
    assert [day for day, cell in enumerate(february, 1) if cell is not None] == [28, 29]


def _moments(*seconds: float | None) -> dict[str, Any]:
    names = ("put_at", "received_at", "dispatched_at", "started_at", "loaded_at", "published_at")
    return {
        name: None if s is None else _START + timedelta(seconds=s)
        for name, s in zip(names, seconds, strict=False)
    }


def test_the_way_of_a_finished_build() -> None:
    shown = way(_moments(0, 0.002, 0.1, 0.7, 1, 2), _START + timedelta(hours=1), is_active=False)
    assert shown.seconds == pytest.approx(2)
    assert not shown.is_open
    assert [m.seconds for m in shown.moments][:2] == [None, pytest.approx(0.002)]
    assert sum(m.width for m in shown.moments) == pytest.approx(100, abs=0.1)
    assert all(m.width > 1 for m in shown.moments[1:])


def test_the_way_of_a_build_that_goes_on_is_open() -> None:
    now = _START + timedelta(seconds=10)
    shown = way(_moments(0, 1, 2, None, None, None), now, is_active=True)
    assert shown.is_open
    assert shown.seconds == pytest.approx(10)
    assert [m.is_open for m in shown.moments] == [False, False, False, True, False, False]


def test_a_clock_that_is_ahead_makes_no_negative_step() -> None:
    shown = way(_moments(5, 1, 2, 3, 4, 6), _START, is_active=False)
    assert all(m.seconds is None or m.seconds >= 0 for m in shown.moments)
    assert way({}, _START, is_active=True).seconds is None


@pytest.mark.parametrize(
    "where",
    ["//elsewhere", "https://elsewhere", "/\\elsewhere", "\\elsewhere", "x", "", "/a\nb", "/\t/e"],
)
def test_login_leads_nowhere_else(where: str) -> None:
    assert local_path(where) == "/"


def test_login_leads_back() -> None:
    assert local_path("/events?key=a%2Fb&reason=") == "/events?key=a%2Fb&reason="


def _settings(*tokens: str) -> Settings:
    return load_settings(operator_tokens=tokens, webhook_tokens=("w",), url="https://q.example")


def _request(cookie: str = "", **headers: str) -> HTTPConnection:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    if cookie:
        pairs.append((b"cookie", f"{COOKIE}={cookie}".encode()))
    return HTTPConnection({"type": "http", "headers": pairs, "path": "/"})


def test_a_session_lives_as_long_as_its_token() -> None:
    session = log_in(_settings("old"), "old", " an\u202ena ")
    assert session is not None
    assert session.cookie is not None
    request = _request(session.cookie)
    both = session_of(_settings("new", "old"), request)
    assert both is not None
    assert both.actor == "page:anna"
    assert both.accepts(session.csrf)
    assert not both.accepts("é")
    assert not both.accepts(None)
    assert session_of(_settings("new"), request) is None
    assert session_of(_settings("old"), _request(session.cookie + "x")) is None
    clock.advance(timedelta(hours=12, seconds=1))
    try:
        assert session_of(_settings("old"), request) is None
    finally:
        clock.reset()
    assert log_in(_settings("old"), "older", "") is None
    assert log_in(_settings(), "", "") is None


def test_without_tokens_a_cookie_of_a_login_is_worth_nothing_more() -> None:
    first = session_of(_settings(), _request())
    assert first is not None
    assert first.cookie is not None
    again = session_of(_settings(), _request(first.cookie))
    assert again is not None
    assert (again.cookie, again.csrf, again.actor) == (None, first.csrf, "local")
    assert session_of(_settings("token"), _request(first.cookie)) is None


@pytest.mark.parametrize(
    ("headers", "is_ours"),
    [
        ({}, True),
        ({"origin": "https://q.example"}, True),
        ({"origin": "http://h:1", "host": "h:1"}, True),
        ({"origin": "http://h:2", "host": "h:1"}, False),
        ({"origin": "null", "host": "h:1"}, False),
        ({"sec_fetch_site": "same-origin", "origin": "http://x"}, True),
        ({"sec_fetch_site": "same-site"}, False),
        ({"sec_fetch_site": "cross-site"}, False),
    ],
)
def test_origins(headers: dict[str, str], is_ours: bool) -> None:
    assert is_own_origin(_settings(), _request(**headers)) is is_ours


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        ("127.0.0.1:8420", True),
        ("[::1]:8420", True),
        ("localhost", True),
        ("q.example", True),
        ("elsewhere.example:8420", False),
        ("localhost.elsewhere.example", False),
    ],
)
def test_names_of_this_machine(host: str, is_local: bool) -> None:
    assert is_local_name(_settings(), _request(host=host)) is is_local


def test_every_reason_of_quarantine_has_a_meaning() -> None:
    sources = (PROJECT / "service" / "intake").rglob("*.py")
    codes = {
        code
        for source in sources
        for code in re.findall(r'"(bad-[a-z-]+|not-[a-z-]+)"', source.read_text())
    }
    assert len(codes) >= 10
    for code in (*codes, REFUSED.removeprefix("quarantined:"), REFUSED):
        assert meaning_of(code), code
    assert "event name" in meaning_of("bad-event-name")
