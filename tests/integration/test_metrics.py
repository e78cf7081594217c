"""What Prometheus gets: scraped over HTTP from real rows, and named by the rules and dashboard."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import AsyncGenerator, Iterator
from datetime import timedelta
from io import StringIO
from typing import Any

import httpx
import promql_parser
import pytest
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from ruamel.yaml import YAML

from quicksilver.app import create_app
from quicksilver.cli.proof import proof_tables
from quicksilver.intake.group_commit import Recorder
from quicksilver.intake.record import record_body
from quicksilver.ledger.proof import Proof
from quicksilver.operators.proof import read_proof
from quicksilver.roles.health import HealthWatch
from quicksilver.support import clock
from quicksilver.support.metrics import DISPATCH_ERRORS
from tests.support.checkout import PROJECT
from tests.support.ledger_harness import BUCKET, DT, NAME, LedgerHarness, days

COMPOSE = PROJECT / "compose"
TOKEN = "an-operators-own-token"

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
async def kit(ledger_url: str) -> AsyncGenerator[LedgerHarness]:
    kit = await LedgerHarness.open(ledger_url, operator_tokens=TOKEN)
    yield kit
    await kit.close()
    clock.reset()


def application(kit: LedgerHarness) -> Any:
    app = create_app(kit.settings)
    app.state.ledger, app.state.recorder = kit.ledger, Recorder(kit.ledger)
    app.state.health = HealthWatch(kit.settings, kit.ledger)
    return app


async def get(app: Any, token: str = TOKEN) -> httpx.Response:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        return await client.get("/metrics", headers={"Authorization": f"Bearer {token}"})


async def scrape(kit: LedgerHarness) -> Samples:
    """Every sample of a replica that was never scraped before."""
    answer = await get(application(kit))
    assert answer.status_code == 200
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((f"quicksilver_{name}", frozenset(labels.items())))


async def test_only_operators_read_them(kit: LedgerHarness) -> None:
    assert (await get(application(kit), "wrong")).status_code == 401


async def test_a_build_is_seen_at_every_stage(kit: LedgerHarness) -> None:
    before = await scrape(kit)
    body = {
        "Records": [
            {
                "eventName": "s3:ObjectCreated:Put",
                "eventTime": clock.now().isoformat(),
                "s3": {"bucket": {"name": BUCKET}, "object": {"key": kit.key(), "eTag": "a"}},
            }
        ]
    }
    app = application(kit)
    kit.bronze.put(kit.key(), "a")
    await record_body(app.state, json.dumps(body).encode(), "fast", "127.0.0.1")
    await app.state.recorder.close()
    dirty = await scrape(kit)
    assert value(dirty, "partitions", dataset=NAME, state="pending") == 1
    assert value(dirty, "partitions", dataset=NAME, state="built") == 0
    clock.advance(timedelta(seconds=90))
    assert (
        value(await scrape(kit), "oldest_dirty_seconds", dataset=NAME, state="pending") or 0
    ) >= 90
    assert await kit.cycle() == [True]
    after = await scrape(kit)
    assert value(after, "partitions", dataset=NAME, state="built") == 1
    assert value(after, "oldest_dirty_seconds", dataset=NAME, state="pending") is None

    def grown(name: str, **labels: str) -> float:
        return (value(after, name, **labels) or 0) - (value(before, name, **labels) or 0)

    assert grown("builds_total", dataset=NAME, outcome="succeeded") == 1
    assert grown("events_total", lane="fast", type="create", outcome="settling") == 1
    assert grown("lane_lag_seconds_count", lane="fast") == 1
    assert grown("ledger_commit_seconds_count") == 1
    for stage in ("received", "dispatched", "started", "silver"):
        assert grown("from_put_seconds_count", dataset=NAME, stage=stage) == 1
    silver = grown("from_put_seconds_sum", dataset=NAME, stage="silver")
    assert 90 <= silver < 120
    assert grown("from_put_seconds_sum", dataset=NAME, stage="received") < 30
    assert value(after, "ledger_up") == 1


async def test_losses_quarantine_lanes_and_alerts(kit: LedgerHarness) -> None:
    kit.bronze.put(kit.key(), "a")
    await kit.sweep().run_once()
    for body in (b"one", b"two"):
        await kit.ledger.quarantine.add(
            body, reason="none", lane="fast", source="x", max_rows=1, max_bytes=100
        )
    await kit.ledger.watch.record_canary(
        BUCKET,
        ["k"],
        clock.now(),
        fast_state="up",
        fast_lag=0.004,
        durable_state="silent",
        durable_lag=None,
        fault="why",
    )
    await kit.ledger.watch.raise_alert("lane", f"{BUCKET}/durable", "why")
    samples = await scrape(kit)
    assert value(samples, "sweep_found_total") == 1
    assert value(samples, "quarantine_bodies") == 1
    assert value(samples, "quarantine_bytes") == 3
    assert value(samples, "quarantine_dropped_total") == 1
    assert value(samples, "lane_up", bucket=BUCKET, lane="fast") == 1
    assert value(samples, "lane_up", bucket=BUCKET, lane="durable") == 0
    assert value(samples, "canary_lag_seconds", bucket=BUCKET, lane="fast") == 0.004
    assert value(samples, "canary_lag_seconds", bucket=BUCKET, lane="durable") is None
    assert value(samples, "alerts", kind="lane") == 1
    assert value(samples, "proof_partitions", dataset=NAME, side="in_bronze") == 1
    assert value(samples, "proof_partitions", dataset=NAME, side="built") == 0
    assert value(samples, "proof_difference_partitions", dataset=NAME, kind="unbuilt") == 1
    assert value(samples, "recent_objects", dataset=NAME, origin="only_sweep") == 1


async def test_every_replica_gives_the_ledgers_numbers_and_looks_seldom(kit: LedgerHarness) -> None:
    await kit.put("a")
    app = application(kit)
    first = await get(app)
    await kit.put("b", days(2)[1])
    # The same replica keeps its numbers for some seconds, another one reads its own.
    pending = f'quicksilver_partitions{{dataset="{NAME}",state="pending"}}'
    assert f"{pending} 1.0" in first.text
    assert f"{pending} 1.0" in (await get(app)).text
    assert f"{pending} 2.0" in (await get(application(kit))).text


async def test_a_ledger_that_is_away_is_said_and_nothing_old_is_shown(kit: LedgerHarness) -> None:
    await kit.put("a")
    app = application(kit)
    await get(app)
    app.state.ledger_metrics._read_at = float("-inf")
    await kit.database.close()
    answer = await get(app)
    assert answer.status_code == 200
    assert "quicksilver_ledger_up 0.0" in answer.text
    assert "quicksilver_partitions{" not in answer.text


async def test_dispatch_errors_by_reason(kit: LedgerHarness) -> None:
    def count(reason: str) -> float:
        return DISPATCH_ERRORS.labels(reason)._value.get()  # pyright: ignore[reportPrivateUsage]

    await kit.put("a")
    before = count("prefect-unavailable"), count("deployment-not-found")
    kit.prefect.is_away = True
    await kit.dispatcher("one").run_once()
    kit.prefect.is_away, kit.prefect.knows_deployment = False, False
    await kit.put("b", days(2)[1])
    await kit.dispatcher("two").run_once()
    assert count("prefect-unavailable") == before[0] + 1
    assert count("deployment-not-found") >= before[1] + 1


async def test_status_proof_says_what_the_page_says(kit: LedgerHarness) -> None:
    kit.bronze.put(kit.key(), "a")
    await kit.sweep().run_once()
    await kit.put("b", days(2)[1])
    answer = await read_proof(kit.ledger, dataset=NAME, last=100)
    (row,) = answer["proof"]
    assert (row["in_bronze"], row["in_ledger"], row["built"]) == (1, 2, 0)
    assert row["newer_names"] == [str(days(2)[1])]
    assert row["unbuilt_names"] == [str(dt) for dt in days(2)[::-1]]
    (origin,) = answer["origins"]
    assert (origin["fast"], origin["only_sweep"], origin["missed_by_notifications"]) == (1, 1, 0.5)
    other = await read_proof(kit.ledger, dataset="other", last=100)
    assert other["proof"] == other["origins"] == []
    console = Console(width=200, record=True, file=StringIO())
    console.print(proof_tables(json.loads(json.dumps(answer, default=str))))
    text = console.export_text()
    assert f"1 landed since the comparison: {days(2)[1]}" in text
    assert f"2 not built at the newest generation: {days(2)[1]}, {DT}" in text
    assert "50.00%" in text
    assert "objects that only a sweep found, ever: 1" in text


def expressions() -> Iterator[tuple[str, str]]:
    """Every PromQL expression of the rules and the dashboard, with where it stands."""
    for path in sorted((COMPOSE / "prometheus" / "rules").glob("*.yml")):
        for group in YAML(typ="safe").load(path)["groups"]:
            for rule in group["rules"]:
                yield f"{path.name}: {rule['alert']}", rule["expr"]
    for path in sorted((COMPOSE / "grafana" / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                # Grafana puts a duration and a label's values in before Prometheus sees it.
                text = target["expr"].replace("$__rate_interval", "1m").replace("$dataset", ".*")
                yield f"{path.name}: {panel['title']}", text


def selectors(expression: str) -> list[Any]:
    found: list[Any] = []

    def visit(node: Any) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)
        elif isinstance(node, promql_parser.MatrixSelector):
            found.append(node.vector_selector)
        return True

    promql_parser.walk(promql_parser.parse(expression), visit)
    return found


async def test_rules_and_dashboard_ask_for_what_is_there(kit: LedgerHarness) -> None:
    kit.bronze.put(kit.key(), "a")
    await kit.put("a")
    await kit.cycle()
    await kit.sweep().run_once()
    text = (await get(application(kit))).text
    known: dict[str, set[str]] = {"up": {"job", "instance"}}
    for family in text_string_to_metric_families(text):
        names = {family.name, *(s.name for s in family.samples)}
        if family.type == "counter":
            names.add(f"{family.name}_total")
        if family.type == "histogram":
            names |= {f"{family.name}_{part}" for part in ("bucket", "count", "sum")}
        for name in names:
            known.setdefault(name, set()).update(*(s.labels for s in family.samples))
    asked = {where: selectors(expression) for where, expression in expressions()}
    assert len(asked) > 20
    for where, found in asked.items():
        assert found, where
        for selector in found:
            assert selector.name in known, f"{where}: nothing is called {selector.name}"
            for matcher in selector.matchers.matchers:
                # A family without a sample yet shows no labels.
                labels = known[selector.name]
                assert not labels or matcher.name in labels, f"{where}: {matcher.name}"


def test_each_rule_has_a_runbook() -> None:
    names: list[str] = []
    for path in (COMPOSE / "prometheus" / "rules").glob("*.yml"):
        for group in YAML(typ="safe").load(path)["groups"]:
            for rule in group["rules"]:
                names.append(rule["alert"])
                assert rule["labels"]["severity"] in ("info", "warning", "critical")
                assert re.match(r"[A-Z{].{10,}", rule["annotations"]["summary"])
                assert len(rule["annotations"]["runbook"]) > 40
                assert re.fullmatch(r"\d+[smh]", rule.get("for", "1m"))
    assert len(set(names)) == len(names) >= 10
    # Prometheus' own word, where it is installed; the expressions are parsed in any case.
    if promtool := shutil.which("promtool"):
        files = [str(path) for path in (COMPOSE / "prometheus" / "rules").glob("*.yml")]
        done = subprocess.run([promtool, "check", "rules", *files], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


async def test_many_readers_cost_one_look(
    kit: LedgerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncio

    looks = 0
    proof = Proof.compare

    async def counted(ledger: Proof) -> Any:
        nonlocal looks
        looks += 1
        return await proof(ledger)

    monkeypatch.setattr(Proof, "compare", counted)
    app = application(kit)
    answers = await asyncio.gather(*(get(app) for _ in range(8)))
    assert [answer.status_code for answer in answers] == [200] * 8
    assert looks == 1


async def test_the_page_shows_what_is_silent_and_what_needs_somebody(ledger_url: str) -> None:
    kit = await LedgerHarness.open(ledger_url)
    try:
        app = application(kit)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=kit.settings.url) as client:
            calm = await client.get("/")
            assert calm.status_code == 200, calm.text
            assert "Nothing needs you" in calm.text
            assert "No canary flew yet" in (await client.get("/delivery")).text
            before = await kit.ledger.overview.pulse()
            await kit.ledger.watch.record_canary(
                BUCKET,
                ["k"],
                clock.now(),
                fast_state="silent",
                fast_lag=None,
                durable_state="up",
                durable_lag=1.25,
                fault="no rule",
            )
            await kit.ledger.watch.raise_alert("lane", "<script>", "why & what")
            assert await kit.ledger.overview.pulse() != before
            page = (await client.get("/")).text
            assert "Nothing needs you" not in page
            assert "why &amp; what" in page
            assert "<script>" not in page.partition("<main")[2]
            page = (await client.get("/delivery")).text
            assert "1.25 s" in page
            assert "no rule" in page
    finally:
        await kit.close()
