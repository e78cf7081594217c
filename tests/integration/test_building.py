"""`quicksilver.building()` in flows of somebody's own, run by Prefect's engine on a real server."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow

import quicksilver
from quicksilver.domain.states import BuildState
from quicksilver.errors import BuildRefusedError, FencedError
from quicksilver.flows.building import _building  # pyright: ignore[reportPrivateUsage]
from quicksilver.roles.silver_proof import SilverProof
from quicksilver.settings import load_settings
from quicksilver.support import clock
from quicksilver.support.project import PROJECT_VARIABLE
from quicksilver.warehouse.connection import Warehouse
from tests.integration.test_own_flow import Server
from tests.support.ledger_harness import DT, LedgerHarness, dataset

NAME = "sales"
DECLARED = f"""
datasets:
  {NAME}:
    bucket: lake
    key: {NAME}/dt={{dt}}/{{file}}
    deployment: publish-sales/prod
    parameters: {{day: "{{dt}}"}}
    ends: ledger
"""


@pytest.fixture
async def kit(
    ledger_url: str, prefect_api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[LedgerHarness]:
    """A dataset whose flow speaks for itself, in a project that has no warehouse."""
    (tmp_path / "datasets.yaml").write_text(DECLARED)
    monkeypatch.setenv(PROJECT_VARIABLE, str(tmp_path))
    monkeypatch.setenv("QUICKSILVER_DATABASE_URL", ledger_url)
    server = Server(prefect_api)
    await server.open()
    await server.deploy("publish-sales/prod", "day")
    declared = dataset(
        NAME,
        deployment="publish-sales/prod",
        parameters={"day": "{dt}"},
        ends="ledger",
        attempts=2,
    )
    kit = await LedgerHarness.open(ledger_url, declared, prefect=server)
    yield kit
    clock.reset()
    await kit.close()
    await server.close()


async def _fired(kit: LedgerHarness) -> Any:
    """Dispatch what is due; its run as Prefect has it."""
    assert await kit.dispatcher().run_once() == 1
    run = (await kit.row(name=NAME))["flow_run_id"]
    async with get_client() as client:
        return await client.read_flow_run(UUID(str(run)))


async def _run(kit: LedgerHarness, body: Callable[[str], Any]) -> Any:
    """Fire a run and have Prefect's engine run a flow in it; the state that it ended in."""
    run = await _fired(kit)
    return await _engine(run, body)


async def _engine(run: Any, body: Callable[[str], Any]) -> Any:
    own = flow(name="publish-sales")(body)
    call = partial(run_flow, own, flow_run=run, parameters=run.parameters, return_type="state")
    if inspect.iscoroutinefunction(body):
        return await cast("Any", call())
    return await asyncio.to_thread(call)


async def test_a_flow_says_itself_that_it_has_published(kit: LedgerHarness) -> None:
    for file in ("a.csv", "b.csv"):
        await kit.put("v1", file=file, name=NAME)
    read: list[Any] = []

    def publish(day: str) -> None:
        with quicksilver.building() as build:
            read.append((day, build.partition, build.generation, build.attempt))
            read.append([(file.key, file.etag) for file in build.files])
            build.rows = 12
            build.details = {"warnings": ["two currencies"]}

    state = await _run(kit, publish)
    assert state.is_completed(), state
    prefix = f"{NAME}/dt=2024-01-01/"
    assert read == [
        (DT.isoformat(), DT.isoformat(), 2, 1),
        [(f"{prefix}a.csv", "v1"), (f"{prefix}b.csv", "v1")],
    ]
    await kit.settler().run_once()
    row = await kit.row(name=NAME)
    assert (row["state"], row["rows_silver"]) == ("built", 12)
    (build,) = await kit.builds(name=NAME)
    assert (build["state"], build["details"]["warnings"]) == ("succeeded", ["two currencies"])


async def test_an_error_of_the_block_is_the_build_s_and_the_next_token_is_higher(
    kit: LedgerHarness,
) -> None:
    await kit.put("v1", name=NAME)
    tokens: list[int] = []

    async def publish(day: str) -> None:
        async with quicksilver.building() as build:
            tokens.append(build.token)
            if build.attempt == 1:
                raise ValueError(f"no prices for {day}")

    state = await _run(kit, publish)
    assert state.is_failed()
    await kit.settler().run_once()
    row = await kit.row(name=NAME)
    assert (row["state"], row["attempts"]) == ("pending", 1)
    assert row["error"] == "no prices for 2024-01-01"
    clock.advance(timedelta(minutes=10))
    assert (await _run(kit, publish)).is_completed()
    await kit.settler().run_once()
    assert (await kit.row(name=NAME))["state"] == "built"
    assert tokens == sorted(set(tokens))
    assert len(tokens) == 2


async def test_a_build_that_was_given_up_is_not_published(kit: LedgerHarness) -> None:
    await kit.put("v1", name=NAME)

    async def publish(day: str) -> None:
        async with quicksilver.building():
            (build,) = await kit.ledger.settlement.active_builds()
            assert build.is_held, f"the settler sees that {day} is worked on"
            assert await kit.ledger.settlement.finish(
                build, BuildState.LOST, error="given up", counted=True, retry_at=clock.now()
            )

    state = await _run(kit, publish)
    with pytest.raises(FencedError, match="was given up before it was published"):
        await state.result(raise_on_failure=True)
    assert (await kit.row(name=NAME))["state"] == "pending"


async def test_a_run_that_nobody_fired_has_no_build(kit: LedgerHarness) -> None:
    with pytest.raises(BuildRefusedError, match="quicksilver rebuild"):
        async with quicksilver.building():
            raise AssertionError
    await kit.put("v1", name=NAME)

    async def publish(day: str) -> None:
        async with quicksilver.building() as build:
            assert build.partition == day

    run = await _fired(kit)
    assert (await _engine(run, publish)).is_completed()
    # The same run again: Prefect's own Retry, after the build has ended.
    with pytest.raises(BuildRefusedError, match="was given up, or has ended"):
        async with _building(run):
            raise AssertionError


async def test_silver_that_is_kept_elsewhere_is_not_looked_for_in_the_warehouse(
    kit: LedgerHarness, warehouse_url: str
) -> None:
    await kit.put("v1", name=NAME)

    async def publish(day: str) -> None:
        async with quicksilver.building() as build:
            assert build.partition == day

    assert (await _run(kit, publish)).is_completed()
    await kit.settler().run_once()
    warehouse = Warehouse(load_settings(warehouse_url=warehouse_url))
    assert await SilverProof(kit.ledger, warehouse).run_once() == {}
    assert (await kit.row(name=NAME))["state"] == "built"
