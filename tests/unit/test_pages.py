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
from quicksilver.web.pages.calendar import days_of_months, months_of_years, rolled_up
from quicksilver.web.pages.charts import Point, chart
from quicksilver.web.pages.formats import age, hex_dump, share, size, span
from quicksilver.web.pages.login import local_path
from quicksilver.web.pages.quarantine import readable
from quicksilver.web.pages.timeline import origin, way, ways, whole
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


def test_all_years_roll_failures_up_and_mark_gaps() -> None:
    def month(year: int, month: int, **counts: int) -> dict[str, Any]:
        none = {"failed": 0, "waiting": 0, "running": 0}
        days = counts.get("days", 28)
        return {"month": date(year, month, 1), "partitions": days, "days": days, **none, **counts}

    calendar = rolled_up(
        [month(2022, 11), month(2023, 1, failed=3), month(2023, 2), month(2023, 3, days=30)]
    )
    assert [name for name, _ in calendar.rows] == ["2023", "2022"]
    (_, new), (_, old) = calendar.rows
    assert [cell.state if cell else None for cell in old] == [None] * 10 + ["built", "missing"]
    assert [cell.state if cell else None for cell in new[:4]] == ["failed", "built", "built", None]
    first = new[0]
    assert first is not None
    assert (first.count, first.label) == (3, "2023-01: 28 partitions, 3 failed, 3 days without")


def test_several_partitions_of_a_day_show_the_worst() -> None:
    rows = [_row("2024-02-28") | {"partition": f"2024-02-28T{hour:02d}"} for hour in range(3)]
    rows[1]["shown_state"] = "failed"
    ((_, cells),) = days_of_months(rows, 2024).rows
    cell = cells[27]
    assert cell is not None
    assert (cell.state, cell.count, cell.partition) == ("failed", 1, None)
    assert cell.label == "2024-02-28: 1 of 3 failed"


def _build(**seconds: float | None) -> dict[str, Any]:
    """A build whose moments are so many seconds after the start."""
    names = ("put", "received", "dirty", "due", "claimed", "dispatched", "taken", "started")
    columns = (*names, "loaded", "published", "finished")
    row: dict[str, Any] = dict.fromkeys(f"{name}_at" for name in columns)
    row |= {f"{n}_at": _START + timedelta(seconds=s) for n, s in seconds.items() if s is not None}
    return {
        **row,
        "id": 7,
        "generation": 1,
        "attempt": 1,
        "state": "succeeded",
        "asked_by": None,
        "details": {"timings": {"publish": 0.25}},
    }


_WHOLE = {
    "put": 0,
    "received": 0.5,
    "due": 5,
    "claimed": 6,
    "dispatched": 6.5,
    "taken": 7,
    "started": 8,
    "loaded": 9,
    "published": 11,
}


def test_every_part_of_a_builds_way_has_its_name() -> None:
    shown = way(_build(**_WHOLE), _START + timedelta(hours=1), is_active=False)
    assert {moment.step.value: moment.seconds for moment in shown.moments} == {
        "telling": 0.5,
        "readiness": 4.5,
        "slot": 1,
        "Prefect": 0.5,
        "worker": 0.5,
        "start": 1,
        "load": 1,
        "dbt": 1.75,
        "publish": 0.25,
    }
    # Its own time begins with its claim.
    assert (shown.seconds, shown.own) == (11, 5)
    assert not shown.is_open
    assert sum(m.width for m in shown.moments) == pytest.approx(100, abs=0.1)
    assert all(m.width > 1 for m in shown.moments)


def test_what_goes_on_is_open_and_lasts_until_now() -> None:
    now = _START + timedelta(seconds=10)
    shown = way(_build(put=0, received=1, claimed=2, dispatched=4), now, is_active=True)
    assert [m.step.value for m in shown.moments] == ["telling", "slot", "Prefect", "worker"]
    assert [m.is_open for m in shown.moments] == [False, False, False, True]
    assert (shown.seconds, shown.own, shown.is_open) == (10, 8, True)


def test_a_further_attempt_begins_where_the_one_before_ended() -> None:
    first = _build(put=0, received=1, claimed=2, dispatched=3, started=4, finished=10)
    second = _build(put=0, received=1, due=70, claimed=71, dispatched=72, started=73)
    first["state"], second["state"], second["attempt"] = "failed", "running", 2
    now = _START + timedelta(seconds=80)
    builds = [second, first]
    found = ways(builds, now, ("running",))
    assert [m.step.value for m in found[0].moments] == [
        *("back-off", "slot", "Prefect", "worker", "work"),
    ]
    assert (found[0].seconds, found[0].own) == (70, 9)
    row = {"generation": 1, "shown_state": "running", "gone_at": None}
    together = whole(builds, found, row, now)
    assert together.seconds == 80
    assert [m.attempt for m in together.moments] == [1] * 5 + [2] * 5
    assert [m.step.value for m in together.moments][4:6] == ["work", "back-off"]


@pytest.mark.parametrize(
    ("state", "why", "due", "step"),
    [
        ("paused", None, None, "paused"),
        ("waiting", "no _SUCCESS yet", None, "readiness"),
        ("pending", None, 90, "back-off"),
        ("pending", None, 1, "slot"),
    ],
)
def test_what_a_partition_waits_for_has_its_name(
    state: str, why: str | None, due: float | None, step: str
) -> None:
    row = {
        "generation": 1,
        "shown_state": state,
        "wait_reason": why,
        "gone_at": None,
        "attempts": 0,
        "put_at": _START,
        "received_at": _START + timedelta(seconds=1),
        "due_at": _START + timedelta(seconds=due) if due else None,
    }
    shown = whole([], [], row, _START + timedelta(seconds=5))
    assert [(m.step.value, m.seconds) for m in shown.moments] == [("telling", 1), (step, 4)]
    assert shown.is_open


def test_a_clock_that_is_ahead_makes_no_negative_step() -> None:
    shown = way(
        _build(put=5, received=1, claimed=2, dispatched=3, started=4, published=6),
        _START,
        is_active=False,
    )
    assert all(m.seconds > 0 for m in shown.moments)
    assert shown.seconds == pytest.approx(1)


def test_the_origin_of_a_build() -> None:
    event = {"id": 3, "generation": 1, "source": "sweep", "fast_at": None, "durable_at": None}
    build = _build()
    assert origin(build, [event]) == "a listing of bronze"
    assert origin(build, [{**event, "fast_at": _START}]) == "event 3 on the fast lane"
    assert origin({**build, "asked_by": "page:anna"}, []) == "rebuild requested by page:anna"
    assert origin({**build, "attempt": 2, "asked_by": "x"}, []) == "attempt 2 of generation 1"


def test_numbers_as_bars() -> None:
    shown = chart([Point(1, "one"), Point(None, "none"), Point(4, "four", "failed")], str)
    assert [(bar.label, bar.height) for bar in shown.bars] == [("one", 8), ("four", 32)]
    assert shown.bars[1].left > 66
    assert shown.said == "4 last, 4 in the middle, 4 at most"
    assert chart([], str).said == "nothing yet"


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
