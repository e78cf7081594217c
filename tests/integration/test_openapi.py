"""Every route against its own schema and against what its schema forbids: never a 5xx."""

import asyncio
from collections.abc import Iterator
from typing import Any, cast
from urllib.parse import quote

import hypothesis
import pytest
import schemathesis
from fastapi.routing import APIRoute
from schemathesis.config import GenerationConfig, ProjectConfig, ProjectsConfig, SchemathesisConfig

from quicksilver.app import create_app
from quicksilver.operators.reconciling import Reconciler
from quicksilver.roles.sweep import Sweep, SweepResult
from tests.support.payloads import KEY, notification, record
from tests.support.servers import Postgres
from tests.support.serving import (
    FAST_TOKEN,
    OPERATOR_TOKEN,
    Served,
    receiver_settings,
    serving,
    until,
)

_APP = create_app(receiver_settings("postgresql://nobody@127.0.0.1/nothing"))
_BOTH = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]
SCHEMA = schemathesis.openapi.from_dict(
    _APP.openapi(),
    config=SchemathesisConfig(
        projects=ProjectsConfig(
            default=ProjectConfig(generation=GenerationConfig(modes=_BOTH, deterministic=True))
        )
    ),
)


class NothingInBronze(Sweep):
    """Stands in for a bronze that these tests have not."""

    def __init__(self) -> None:
        pass

    async def run_once(self, *arguments: Any, **named: Any) -> list[SweepResult]:
        return [SweepResult("nyc_tlc.yellow_tripdata", 0, 0, 0)]


class Held(NothingInBronze):
    """A listing that does not end."""

    async def run_once(self, *arguments: Any, **named: Any) -> list[SweepResult]:
        await asyncio.Event().wait()
        return []


@pytest.fixture(scope="module")
def served(stack_postgres: Postgres, ledger_template: str) -> Iterator[Served]:
    """A receiver with a partition and a quarantined body to be named by lucky guesses."""
    url = stack_postgres.create_database("openapi", "ledger", ledger_template)
    with serving(url) as running:
        running.app.state.reconciler = Reconciler(running.app.state.settings, NothingInBronze())
        assert running.client.post(notification(record(KEY))).status == 200
        assert running.client.post(b"junk").status == 200
        yield running
    stack_postgres.drop_database("openapi")


@pytest.fixture(scope="module")
def unlocked(served: Served) -> Iterator[Served]:
    """Another replica over the same ledger, without operators' tokens: pages need no login."""
    with serving(served.database_url, operator_tokens="") as running:
        yield running


@SCHEMA.parametrize()  # pyright: ignore[reportUntypedFunctionDecorator]
@hypothesis.settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=cast("list[hypothesis.HealthCheck]", list(hypothesis.HealthCheck)),
)
def test_a_route_keeps_to_its_schema(case: schemathesis.Case[Any], served: Served) -> None:
    token = FAST_TOKEN if case.path.startswith("/events") else OPERATOR_TOKEN
    response = case.call(
        base_url=f"http://127.0.0.1:{served.client.port}",
        headers={"Authorization": f"Bearer {token}"},
        timeout=30,
    )
    # Prefect is nowhere in these tests: /readyz has to say so.
    if case.path != "/readyz":
        assert response.status_code < 500, response.text


HOSTILE = [
    "",
    " ",
    "\0",
    "'",
    '"><script>alert(1)</script>',
    "../../etc/passwd",
    "%s%n",
    "-1",
    "0",
    "1e9",
    str(2**63),
    str(10**40),
    "nan",
    "2024-02-30",
    "0000-01-01",
    "99999-01-01",
    "2024-01-01T00:00:00Z",
    "nyc_tlc.yellow_tripdata",
    "nyc_tlc.yellow_tripdata/2024-01-01",
    "é\u202e🚕",
    "x" * 5000,
    b"\xff\xfe",
    "a&a=b;c",
    "\r\nX-Evil: 1",
]

_FIELDS = (
    "dataset", "dt", "state", "key", "reason", "limit", "after", "before", "next",
    "from", "to", "year", "page", "q", "lane",
)  # fmt: skip


def _routes(router: Any) -> Iterator[APIRoute]:
    """Every route, those of included routers too."""
    for route in router.routes:
        if isinstance(route, APIRoute):
            yield route
        elif hasattr(route, "original_router"):
            yield from _routes(route.original_router)


def _readable() -> list[str]:
    """What a GET reads, pages and API; not the live stream, which never ends."""
    paths = {route.path for route in _routes(_APP) if "GET" in (route.methods or ())}
    return sorted(paths - {"/readyz", "/live"})


def test_every_page_is_asked() -> None:
    assert len(_readable()) >= 10
    known = {"/", "/login", "/metrics", "/openapi.json", "/docs", "/api/partitions"}
    assert known <= set(_readable())


@pytest.mark.parametrize("path", _readable())
def test_no_page_breaks_over_what_it_is_asked(unlocked: Served, path: str) -> None:
    client = unlocked.client
    for value in HOSTILE:
        encoded = quote(value, safe="")
        filled = path
        while "{" in filled:
            start, _, rest = filled.partition("{")
            filled = start + (encoded or "%20") + rest.partition("}")[2]
        query = "&".join(f"{field}={encoded}" for field in _FIELDS)
        for url in (f"{filled}?{query}", *(f"{filled}?{field}={encoded}" for field in _FIELDS[:4])):
            answer = client.request("GET", url)
            assert answer.status < 500, (url, answer)
            assert answer.status not in (401, 403), (url, answer)
            if "html" in answer.headers.get("content-type", ""):
                assert b"<script>alert(1)" not in answer.body, url
            assert "x-evil" not in answer.headers, url


def test_every_operation_says_who_may_and_what_it_answers() -> None:
    schema = _APP.openapi()
    schemes = schema["components"]["securitySchemes"]
    assert {"operatorToken", "session", "webhookToken"} <= set(schemes)
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            where = f"{method} {path}"
            answers = operation["responses"]
            if path.startswith("/api/"):
                assert operation["security"] == [{"operatorToken": []}, {"session": []}], where
                assert {"401", "403", "429", "503"} <= set(answers), where
                (good,) = [answers[code] for code in answers if code.startswith("2")]
                shape = good["content"]["application/json"]["schema"]
                assert "$ref" in shape, f"{where} has no typed answer"
            elif path in ("/events/minio", "/events/s3"):
                assert operation["security"] == [{"webhookToken": []}], where
                assert {"200", "401", "429"} <= set(answers), where


def test_reconcile_is_taken_and_says_where_to_look(served: Served) -> None:
    begun = served.client.operate("POST", "/api/reconcile")
    assert (begun.status, begun.headers["location"]) == (202, "/api/reconcile")
    until(
        lambda: served.client.operate("GET", "/api/reconcile").json["state"] == "done",
        "the comparison ends",
    )
    seen = served.client.operate("GET", "/api/reconcile").json
    nothing = {
        "dataset": "nyc_tlc.yellow_tripdata",
        "listed": 0,
        "found": 0,
        "gone": 0,
        "error": None,
        "sentence": "nyc_tlc.yellow_tripdata: 0 objects listed, 0 that no event told of,"
        " 0 partitions lost objects",
    }
    assert (seen["actor"], seen["error"], seen["datasets"]) == ("token", None, [nothing])
    assert seen["started_at"] <= seen["ended_at"]


def test_one_comparison_runs_at_a_time(served: Served) -> None:
    usual = served.app.state.reconciler
    served.app.state.reconciler = Reconciler(served.app.state.settings, Held())
    begun = served.client.operate("POST", "/api/reconcile").json
    again = served.client.operate("POST", "/api/reconcile").json
    served.app.state.reconciler = usual
    assert begun["state"] == "running"
    assert again == begun


def test_the_schema_tells_no_secret(served: Served) -> None:
    for path in ("/openapi.json", "/docs"):
        answer = served.client.operate("GET", path)
        assert answer.status == 200
        text = answer.text
        assert FAST_TOKEN not in text
        assert OPERATOR_TOKEN not in text
        assert served.database_url not in text


def test_the_ledger_holds_what_it_held(served: Served) -> None:
    events = served.rows("select reason from quicksilver.event")
    assert [row["reason"] for row in events] == ["settling"]
