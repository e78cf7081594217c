"""One trace from an event's receipt to silver: the receiver, the dispatcher and the flow's code."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from quicksilver.app import create_app
from quicksilver.build.result import BuildResult, Tell
from quicksilver.domain.datasets import Dataset
from quicksilver.flows import silver_batch
from quicksilver.flows import silver_build as flow
from quicksilver.flows.context import FlowContext
from quicksilver.intake.group_commit import Recorder
from quicksilver.intake.record import record_body
from quicksilver.ledger import BegunBuild
from quicksilver.settings import Settings
from quicksilver.support import clock, tracing
from tests.support.ledger_harness import BUCKET, DT, NAME, LedgerHarness
from tests.support.otlp import Collector, collecting

EVENT = {
    "eventName": "s3:ObjectCreated:Put",
    "eventTime": "2024-01-02T03:04:05.000Z",
    "s3": {
        "bucket": {"name": BUCKET},
        "object": {"key": f"{NAME}%2Fdt%3D{DT}%2Fdata.parquet", "eTag": "a", "size": 1},
    },
}


@pytest.fixture
async def kit(ledger_url: str) -> AsyncGenerator[LedgerHarness]:
    kit = await LedgerHarness.open(ledger_url, warehouse_url="postgresql://nowhere/warehouse")
    yield kit
    await kit.close()


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        yield collector
        tracing.stop()


async def deliver(kit: LedgerHarness, parent: str | None = None) -> str:
    """What the receiver does with a body."""
    app = create_app(kit.settings)
    app.state.ledger, app.state.recorder = kit.ledger, Recorder(kit.ledger)
    kit.bronze.put(kit.key(), "a")
    body = json.dumps({"Records": [EVENT]}).encode()
    try:
        return (await record_body(app.state, body, "fast", "127.0.0.1", parent)).text
    finally:
        await app.state.recorder.close()


async def run_flow(kit: LedgerHarness, monkeypatch: pytest.MonkeyPatch) -> str:
    """The flow's own code, as a worker's process would run it; the run's id."""
    ((key, run),) = kit.prefect.keys.items()
    monkeypatch.setattr(
        "prefect.context.FlowRunContext.get",
        lambda: SimpleNamespace(flow_run=SimpleNamespace(id=run, idempotency_key=key)),
    )
    monkeypatch.setattr(flow, "get_run_logger", lambda: logging.getLogger("flow"))

    @asynccontextmanager
    async def opened() -> AsyncGenerator[FlowContext]:
        yield FlowContext(kit.settings, kit.ledger, kit.bronze)

    async def build(
        _: Settings, __: Dataset, builds: Sequence[BegunBuild], tell: Tell, *_more: object
    ) -> None:
        timings = {"begin": 0.1, "load": 0.2, "dbt": 0.3, "publish": 0.1, "total": 0.7}
        await tell(builds[0], BuildResult(1, 1, 0, {}, timings, [], [], clock.now()))

    async def no_report(*_: Any) -> None:
        """The run is known to no server here."""

    monkeypatch.setattr(silver_batch, "leave_report", no_report)
    monkeypatch.setattr(silver_batch, "get_run_logger", lambda: logging.getLogger("flow"))
    monkeypatch.setattr(silver_batch, "build_batch", build)
    monkeypatch.setattr(flow, "opened", opened)
    await flow.silver_build.fn(NAME, DT.isoformat(), 1)
    return str(run)


async def test_one_trace_from_receipt_to_silver(
    ledger_url: str, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit = await LedgerHarness.open(
        ledger_url, database_url=ledger_url, warehouse_url="postgresql://x/w"
    )
    created: list[dict[str, Any]] = []
    create_run = kit.prefect.create_run

    async def remember(*names: Any, labels: Any = None, **options: Any) -> Any:
        created.append(labels)
        return await create_run(*names, **options)

    monkeypatch.setattr(kit.prefect, "create_run", remember)
    try:
        tracing.start("quicksilver")
        assert await deliver(kit) == "settling"
        assert await kit.dispatcher().run_once() == 1
        # Another process than the service's runs the flow: what it sends, it sends by itself.
        tracing.stop()
        run = await run_flow(kit, monkeypatch)
        assert not tracing.is_on()
    finally:
        await kit.close()
    spans = {span.name: span for span in collector.spans}
    assert sorted(spans) == sorted(
        ["receive", "dispatch", "silver-build", "begin", "load", "dbt", "publish"]
    )
    assert len({span.trace for span in collector.spans}) == 1
    assert spans["receive"].parent == ""
    assert spans["dispatch"].parent == spans["receive"].id
    assert spans["silver-build"].parent == spans["dispatch"].id
    assert {spans[step].parent for step in ("load", "dbt", "publish")} == {spans["silver-build"].id}
    assert (spans["receive"].service, spans["dbt"].service) == ("quicksilver", "quicksilver-flow")
    assert spans["silver-build"].attributes["quicksilver.flow_run_id"] == run
    assert spans["silver-build"].attributes["quicksilver.dataset"] == NAME
    assert spans["dbt"].end - spans["dbt"].begin == pytest.approx(0.3, abs=0.001)
    assert spans["load"].end <= spans["dbt"].begin + 0.001
    # Prefect's own instrumentation, where a worker has it, finds the trace too.
    (labels,) = created
    assert spans["dispatch"].trace in labels["__OTEL_TRACEPARENT"]


async def test_a_senders_own_trace_goes_on(kit: LedgerHarness, collector: Collector) -> None:
    tracing.start("quicksilver")
    trace = "0af7651916cd43dd8448eb211c80319c"
    await deliver(kit, f"00-{trace}-b7ad6b7169203331-01")
    tracing.stop()
    (span,) = collector.spans
    assert (span.name, span.trace, span.parent) == ("receive", trace, "b7ad6b7169203331")


async def test_what_no_event_told_of_begins_at_its_dispatch(
    kit: LedgerHarness, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def plain(*names: Any, labels: Any = None, **options: Any) -> Any:
        return await type(kit.prefect).create_run(kit.prefect, *names, **options)

    monkeypatch.setattr(kit.prefect, "create_run", plain)
    tracing.start("quicksilver")
    kit.bronze.put(kit.key(), "a")
    await kit.sweep().run_once()
    await kit.dispatcher().run_once()
    tracing.stop()
    (build,) = await kit.fetch("select traceparent from quicksilver.build")
    (span,) = collector.spans
    assert (span.name, span.parent) == ("dispatch", "")
    assert span.trace in build[0]


async def test_without_the_setting_nothing_is_made(kit: LedgerHarness) -> None:
    tracing.start("quicksilver")
    assert not tracing.is_on()
    await deliver(kit)
    await kit.dispatcher().run_once()
    assert await kit.fetch("select traceparent from quicksilver.build") == [(None,)]


async def test_a_collector_that_is_away_is_given_up_soon(
    kit: LedgerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    from quicksilver.stack.ports import choose_port

    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{choose_port(None)}")
    tracing.start("quicksilver")
    assert await deliver(kit) == "settling"
    begin = clock.now()
    tracing.stop()
    assert (clock.now() - begin).total_seconds() < 10
