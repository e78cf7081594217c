"""A run with several builds tells of each by itself: in the ledger, in its report, by its end."""

import logging
from collections.abc import AsyncIterator, Mapping, Sequence

import pytest

from quicksilver.build.result import BuildOutcome, BuildResult, Tell
from quicksilver.domain.datasets import Dataset
from quicksilver.errors import (
    BronzeFileError,
    FencedError,
    ManifestChangedError,
    QuicksilverError,
)
from quicksilver.flows import silver_batch
from quicksilver.flows.context import FlowContext
from quicksilver.flows.run_report import batch_as_markdown
from quicksilver.ledger import BegunBuild
from quicksilver.ledger.turns import BACKLOG
from quicksilver.settings import Settings
from quicksilver.support import clock
from tests.support.ledger_harness import NAME, FlowRun, LedgerHarness, dataset, days

RESULT = BuildResult(10, 8, 2, {"duplicate": 2}, {"dbt": 1.0}, [], [], clock.now(), together=4)


@pytest.fixture
async def kit(ledger_url: str) -> AsyncIterator[LedgerHarness]:
    kit = await LedgerHarness.open(
        ledger_url, dataset(max_partitions_per_run=4), max_running=1, database_url=ledger_url
    )
    kit.prefect.takes_batches = True
    yield kit
    await kit.close()


async def _begun(kit: LedgerHarness) -> tuple[FlowRun, list[BegunBuild]]:
    """A run of four builds, begun as a flow does."""
    for dt in days(BACKLOG + 1):
        kit.bronze.put(kit.key(dt), "a")
    await kit.tell(*(kit.arrival(dt, "a") for dt in days(BACKLOG + 1)))
    await kit.dispatcher().run_once()
    (run,) = kit.take_runs()
    return run, await kit.ledger.runs.begin(run.key, run.id, time_limit=kit.time_limit)


async def test_each_build_ends_in_the_ledger_as_it_went(
    kit: LedgerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, builds = await _begun(kit)
    outcomes: list[BuildOutcome] = [
        RESULT,
        ManifestChangedError("another version"),
        BronzeFileError("no | parquet\nat all"),
        FencedError("build 4 was given up"),
    ]
    reports: list[str] = []

    async def build(
        _: Settings, __: Dataset, members: Sequence[BegunBuild], tell: Tell, *_more: object
    ) -> None:
        assert all(b.is_held for b in await kit.ledger.settlement.active_builds()), (
            "by this very process"
        )
        for member, outcome in zip(members, outcomes, strict=True):
            await tell(member, outcome)

    async def leave(settings: Settings, found: Mapping[BegunBuild, BuildOutcome]) -> None:
        reports.append(batch_as_markdown(settings, found))

    monkeypatch.setattr(silver_batch, "build_batch", build)
    monkeypatch.setattr(silver_batch, "leave_batch_report", leave)
    monkeypatch.setattr(silver_batch, "get_run_logger", lambda: logging.getLogger("batch"))
    lake = FlowContext(kit.settings, kit.ledger, kit.bronze)
    with pytest.raises(
        QuicksilverError, match="1 of 4 partitions failed: 2024-01-03: no"
    ) as caught:
        await silver_batch.build_together(lake, kit.datasets.get(NAME), builds)
    kit.prefect.set_state(run.id, "FAILED", message=str(caught.value))
    await kit.settler().run_once()

    found = [(await kit.builds(dt))[0] for dt in days(4)]
    assert [b["state"] for b in found] == ["succeeded", "superseded", "failed", "failed"]
    assert [b["error"] for b in found][2] == "no | parquet\nat all"
    (report,) = reports
    assert "| 10 | 8 | 2 |" in report
    assert "no \\| parquet at all" in report
    assert [line.count("[2024") for line in report.splitlines()].count(1) == 4


async def test_what_stops_all_is_told_of_what_was_left(
    kit: LedgerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, builds = await _begun(kit)

    async def build(
        _: Settings, __: Dataset, members: Sequence[BegunBuild], tell: Tell, *_more: object
    ) -> None:
        await tell(members[0], RESULT)
        raise QuicksilverError("the warehouse does not answer")

    monkeypatch.setattr(silver_batch, "build_batch", build)
    monkeypatch.setattr(silver_batch, "get_run_logger", lambda: logging.getLogger("batch"))
    lake = FlowContext(kit.settings, kit.ledger, kit.bronze)
    with pytest.raises(QuicksilverError, match="does not answer"):
        await silver_batch.build_together(lake, kit.datasets.get(NAME), builds)

    active = await kit.ledger.settlement.active_builds()
    assert [(b.state, b.error) for b in active] == [
        ("published", None),
        *[("running", "the warehouse does not answer")] * 3,
    ]


async def test_a_run_whose_builds_are_handed_on_completes_alone_or_shared(
    kit: LedgerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, builds = await _begun(kit)
    outcomes: list[BuildOutcome] = []

    async def build(
        _: Settings, __: Dataset, members: Sequence[BegunBuild], tell: Tell, *_more: object
    ) -> None:
        for member, outcome in zip(members, outcomes, strict=False):
            await tell(member, outcome)

    async def leave(*_: object) -> None:
        return

    for name in ("leave_report", "leave_batch_report"):
        monkeypatch.setattr(silver_batch, name, leave)
    monkeypatch.setattr(silver_batch, "build_batch", build)
    monkeypatch.setattr(silver_batch, "get_run_logger", lambda: logging.getLogger("batch"))
    lake = FlowContext(kit.settings, kit.ledger, kit.bronze)
    declared = kit.datasets.get(NAME)

    outcomes[:] = [FencedError("given up")]
    fenced = await silver_batch.build_together(lake, declared, builds[:1])
    outcomes[:] = [FencedError("given up"), RESULT]
    shared = await silver_batch.build_together(lake, declared, builds[:2])
    outcomes[:] = [ManifestChangedError("another version")]
    superseded = await silver_batch.build_together(lake, declared, builds[2:3])
    outcomes[:] = [BronzeFileError("damaged")]
    with pytest.raises(BronzeFileError, match="damaged"):
        await silver_batch.build_together(lake, declared, builds[3:])

    assert [(s.type.value, s.name) for s in (fenced, shared, superseded)] == [
        ("COMPLETED", "Fenced"),
        ("COMPLETED", "Completed"),
        ("COMPLETED", "Superseded"),
    ]
    active = {b.id: (b.state, b.error) for b in await kit.ledger.settlement.active_builds()}
    assert [active[build.id] for build in builds] == [
        ("running", None),
        ("published", None),
        ("yielded", "another version"),
        ("running", "damaged"),
    ]
