"""Anybody's flow: mapped parameters, the run's own end, what follows; on a real Prefect server.

No worker is needed: the tests bring runs into their states as a worker or a person would.
"""

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from quicksilver.orchestrator.deployments import Deployments
from quicksilver.roles.gatekeeper import Gatekeeper
from quicksilver.support import clock
from tests.support.ledger_harness import BUCKET, LedgerHarness, dataset

HOUR = "2024-05-01T13/region=eu"
_names = iter(range(1, 1_000_000))


class Server(Deployments):
    """Prefect, and what others do to its runs."""

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        ask: Any = self._client.request
        answer = await ask(method, path, json=body)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    async def set_state(self, run: UUID, kind: str, message: str = "") -> None:
        state = {"type": kind, "name": kind.title(), "message": message}
        await self.call("POST", f"/flow_runs/{run}/set_state", {"state": state, "force": True})

    async def deploy(self, name: str, *parameters: str) -> None:
        flow, _, deployment = name.partition("/")
        made = await self.call("POST", "/flows/", {"name": flow})
        properties = {parameter: {"title": parameter} for parameter in parameters}
        body = {
            "name": deployment,
            "flow_id": made["id"],
            "work_pool_name": "default",
            "parameter_openapi_schema": {"type": "object", "properties": properties},
        }
        await self.call("POST", "/deployments/", body)


@pytest.fixture(autouse=True)
def _own_clock() -> Iterator[None]:
    yield
    clock.reset()


@pytest.fixture
async def prefect(prefect_api: str) -> AsyncIterator[Server]:
    server = Server(prefect_api)
    await server.open()
    yield server
    await server.close()


@pytest.fixture
async def kit(ledger_url: str, prefect: Server) -> AsyncIterator[LedgerHarness]:
    number = next(_names)
    await prefect.deploy(f"load-sales-{number}/prod", "day", "region", "keys", "attempt")
    await prefect.deploy(f"report-{number}/daily", "partition", "generation")
    declared = dataset(
        f"sales-{number}",
        key=f"sales-{number}/{{year}}/{{month}}/{{day}}/{{hour}}/region={{region}}/{{file}}",
        deployment=f"load-sales-{number}/prod",
        parameters={
            "day": "{dt}",
            "region": "{region}",
            "keys": "{files}",
            "attempt": "{attempt}",
        },
        tags=["team:sales"],
        then=[f"report-{number}/daily"],
        attempts=2,
        time_limit="10m",
    )
    kit = await LedgerHarness.open(ledger_url, declared, prefect=prefect)
    yield kit
    await kit.close()


def _dataset(kit: LedgerHarness) -> Any:
    return kit.datasets.datasets[0]


async def _land(kit: LedgerHarness, *files: str, content: str = "a") -> None:
    from quicksilver.domain.arrival import arrivals
    from quicksilver.domain.event import ObjectEvent

    found = []
    for file in files:
        key = f"{_dataset(kit).name}/2024/05/01/13/region=eu/{file}"
        kit.bronze.put(key, content)
        event = ObjectEvent("ObjectCreated:Put", BUCKET, key, content, None, 1, None, clock.now())
        found += arrivals(event, kit.datasets, "fast", "127.0.0.1", clock.now())
    await kit.ledger.recording.record(found)


async def _row(kit: LedgerHarness) -> Any:
    rows = await kit.ledger.views.partitions(dataset=_dataset(kit).name)
    assert [row["partition"] for row in rows] == [HOUR]
    return rows[0]


async def _fired(kit: LedgerHarness, prefect: Server) -> dict[str, Any]:
    """Dispatch the one due partition; its run as Prefect has it."""
    assert await kit.dispatcher().run_once() == 1
    return await prefect.call("GET", f"/flow_runs/{(await _row(kit))['flow_run_id']}")


async def test_six_files_become_one_run_with_mapped_parameters(
    kit: LedgerHarness, prefect: Server
) -> None:
    await _land(kit, *(f"orders+{n}.json.gz" for n in range(6)))
    run = await _fired(kit, prefect)
    prefix = f"{_dataset(kit).name}/2024/05/01/13/region=eu/"
    assert run["parameters"] == {
        "day": "2024-05-01",
        "region": "eu",
        "keys": [f"{prefix}orders+{n}.json.gz" for n in range(6)],
        "attempt": 1,
    }
    assert "team:sales" in run["tags"]
    await prefect.set_state(UUID(run["id"]), "COMPLETED")
    await kit.settler().run_once()
    assert (await _row(kit))["state"] == "built"
    assert await kit.settler().run_once() == 0


async def test_a_failure_is_an_attempt_and_the_next_run_mends_it(
    kit: LedgerHarness, prefect: Server
) -> None:
    await _land(kit, "a.csv")
    first = await _fired(kit, prefect)
    await prefect.set_state(UUID(first["id"]), "FAILED", "no such column")
    await kit.settler().run_once()
    row = await _row(kit)
    assert (row["state"], row["attempts"], row["error"]) == ("pending", 1, "no such column")
    clock.advance(timedelta(minutes=10))
    second = await _fired(kit, prefect)
    assert second["id"] != first["id"]
    assert second["parameters"]["attempt"] == 2
    await prefect.set_state(UUID(second["id"]), "COMPLETED")
    await kit.settler().run_once()
    assert (await _row(kit))["state"] == "built"


async def test_what_lands_during_a_run_makes_one_follow_up(
    kit: LedgerHarness, prefect: Server
) -> None:
    await _land(kit, "a.csv")
    first = await _fired(kit, prefect)
    await prefect.set_state(UUID(first["id"]), "RUNNING")
    await kit.settler().run_once()
    assert (await _row(kit))["started_at"] is not None
    await _land(kit, "b.csv")
    await _land(kit, "c.csv")
    assert await kit.dispatcher().run_once() == 0, "one run at a time"
    await prefect.set_state(UUID(first["id"]), "COMPLETED")
    await kit.settler().run_once()
    await kit.settler().run_once()
    second = await _fired(kit, prefect)
    assert len(second["parameters"]["keys"]) == 3
    await prefect.set_state(UUID(second["id"]), "COMPLETED")
    await kit.settler().run_once()
    assert await kit.settler().run_once() == 0
    assert await kit.dispatcher().run_once() == 0
    row = await _row(kit)
    assert (row["state"], row["built_generation"]) == ("built", row["generation"])


async def test_a_run_past_its_time_is_asked_to_stop_and_not_doubled(
    kit: LedgerHarness, prefect: Server
) -> None:
    await _land(kit, "a.csv")
    run = await _fired(kit, prefect)
    await prefect.set_state(UUID(run["id"]), "RUNNING")
    await kit.settler().run_once()
    clock.advance(timedelta(minutes=5))
    await kit.settler().run_once()
    assert await kit.dispatcher().run_once() == 0
    clock.advance(timedelta(minutes=6))
    await kit.settler().run_once()
    now = await prefect.call("GET", f"/flow_runs/{run['id']}")
    assert now["state"]["type"] == "CANCELLING"
    assert await kit.dispatcher().run_once() == 0, "its worker has not let go"
    await prefect.set_state(UUID(run["id"]), "CANCELLED")
    await kit.settler().run_once()
    assert (await _row(kit))["attempts"] == 1


async def test_what_follows_is_fired_once_for_each_generation(
    kit: LedgerHarness, prefect: Server
) -> None:
    keeper = Gatekeeper(kit.ledger, prefect)
    for generation, file in ((1, "a.csv"), (2, "b.csv")):
        await _land(kit, file)
        run = await _fired(kit, prefect)
        await prefect.set_state(UUID(run["id"]), "COMPLETED")
        await kit.settler().run_once()
        await kit.settler().run_once()
        assert await keeper.run_once() == 1
        assert await keeper.run_once() == 0
        (fired,) = await kit.fetch(
            "select flow_run_id, generation from quicksilver.gate_run"
            " order by generation desc limit 1"
        )
        found = await prefect.call("GET", f"/flow_runs/{fired[0]}")
        assert found["parameters"] == {"partition": HOUR, "generation": generation}
