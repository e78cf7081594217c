"""The loop of the background jobs: one that fails is said once, counted, and stops no other."""

import asyncio
import re
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from starlette.datastructures import State
from structlog.testing import capture_logs

from quicksilver.app import jobs
from quicksilver.domain.datasets import Datasets
from quicksilver.errors import LedgerUnavailableError
from quicksilver.intake.refusals import Refusals
from quicksilver.lake.bronze import Bronze
from quicksilver.ledger import Ledger
from quicksilver.ledger.listener import LedgerListener
from quicksilver.orchestrator.deployments import Deployments
from quicksilver.roles import loop
from quicksilver.roles.health import HealthWatch
from quicksilver.roles.loop import Job, run_jobs
from quicksilver.roles.sweep import Sweep
from quicksilver.settings import ROLES, load_settings
from quicksilver.support.postgres import Database
from tests.support.checkout import PROJECT


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_BASE", 0.001)
    monkeypatch.setattr(loop, "_CAP", 0.002)


def _failures(name: str) -> float:
    labels = {"role": name}
    return REGISTRY.get_sample_value("quicksilver_role_failures_total", labels) or 0.0


async def test_a_job_that_fails_is_said_once_and_stops_no_other() -> None:
    healthy = asyncio.Semaphore(0)
    tries = 0

    async def fails() -> None:
        nonlocal tries
        tries += 1
        raise LedgerUnavailableError("the ledger is away") if tries % 2 else ValueError("a bug")

    async def works() -> None:
        healthy.release()

    with capture_logs() as logs:
        running = asyncio.create_task(run_jobs([Job("sick", fails, 0.0), Job("well", works, 0.0)]))
        async with asyncio.timeout(20):
            while tries < 20:
                await healthy.acquire()
        running.cancel()
    assert _failures("sick") >= 19
    assert _failures("well") == 0
    levels = [entry["log_level"] for entry in logs]
    assert {"warning", "error"} <= set(levels)


async def test_the_same_failure_is_said_once_and_its_end_too() -> None:
    done = asyncio.Event()
    tries = 0

    async def fails_ten_times() -> None:
        nonlocal tries
        tries += 1
        if tries <= 10:
            raise LedgerUnavailableError("away")
        done.set()

    with capture_logs() as logs:
        running = asyncio.create_task(run_jobs([Job("sick", fails_ten_times, 0.0)]))
        async with asyncio.timeout(20):
            await done.wait()
        running.cancel()
    assert [entry["event"] for entry in logs] == ["a job waits", "a job goes on"]
    assert logs[-1]["failures"] == 10


async def test_a_wake_ends_the_pause_and_the_end_is_told() -> None:
    changed, passes, ended = asyncio.Event(), asyncio.Semaphore(0), asyncio.Event()

    async def works() -> None:
        passes.release()

    async def at_end() -> None:
        ended.set()

    running = asyncio.create_task(run_jobs([Job("one", works, 3600.0, changed, at_end=at_end)]))
    async with asyncio.timeout(20):
        await passes.acquire()
        changed.set()
        await passes.acquire()
        running.cancel()
        await ended.wait()


async def test_roles_are_the_same_in_code_and_docs() -> None:
    settings = load_settings()
    ledger = Ledger(
        Database("postgresql://127.0.0.1:1/x"), Datasets(datasets=(), path=Path("datasets.yaml"))
    )
    state = State(
        {
            "settings": settings,
            "ledger": ledger,
            "bronze": Bronze(settings),
            "deployments": Deployments(settings.prefect_api_url),
            "wake": LedgerListener("postgresql://127.0.0.1:1/x"),
            "sweep": Sweep(settings, ledger, Bronze(settings)),
            "refusals": Refusals(),
            "health": HealthWatch(settings, ledger),
        }
    )
    by_role = jobs(state)
    assert set(by_role) == {"", *ROLES}
    names = [job.name for of_role in by_role.values() for job in of_role]
    assert len(set(names)) == len(names)
    for file in ("README.md", "docs/operations.md", ".env.example"):
        text = (PROJECT / file).read_text(encoding="utf-8")
        if "QUICKSILVER_ROLES" in text:
            line = next(x for x in text.splitlines() if "QUICKSILVER_ROLES" in x)
            assert all(re.search(rf"\b{role}\b", line) for role in ROLES), file
