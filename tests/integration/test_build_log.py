"""The log says of each end of a build what became of it, in one line."""

from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from tests.support.ledger_harness import DT, NAME, LedgerHarness


@pytest.fixture
async def kit(ledger_url: str) -> AsyncIterator[LedgerHarness]:
    opened = await LedgerHarness.open(ledger_url)
    yield opened
    await opened.close()


async def test_an_end_is_one_line(kit: LedgerHarness) -> None:
    await kit.put("v1")
    with capture_logs() as logs:
        assert await kit.cycle() == [True]
    (line,) = [entry for entry in logs if entry["event"] == "build ended"]
    assert line["log_level"] == "info"
    assert (line["dataset"], line["partition"], line["generation"]) == (NAME, str(DT), 1)
    assert line["outcome"] == "succeeded"
    assert {"rows", "rejected"} <= set(line)
    assert line["seconds"] >= 0


async def test_a_failed_one_says_why_and_when_it_is_tried_again(kit: LedgerHarness) -> None:
    await kit.put("v1")
    await kit.dispatcher().run_once()
    (flow,) = kit.take_runs()
    assert await flow.begin()
    await flow.fail("no column id")
    with capture_logs() as logs:
        await kit.settler().run_once()
    (line,) = [entry for entry in logs if entry["event"] == "build ended"]
    assert (line["log_level"], line["outcome"]) == ("warning", "failed")
    assert "no column id" in line["error"]
    assert line["retry_at"]
