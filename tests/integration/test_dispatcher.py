"""Dispatcher and settler against a real Prefect server, and a proxy that cuts its answers.

No worker is needed: the tests bring runs into their states through Prefect's API, as a worker, an
operator or a crash would.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

import httpx
import pytest

from quicksilver.domain.partition import Partition
from quicksilver.errors import PrefectUnavailableError
from quicksilver.orchestrator.deployments import Deployments
from quicksilver.support import clock
from quicksilver.support.prefect_http import prefect_auth
from tests.support.checkout import PROJECT
from tests.support.ledger_harness import (
    DEPLOYMENT,
    DT,
    NAME,
    FlowRun,
    LedgerHarness,
    dataset,
    days,
    together,
)

HERE = Partition.of_day(NAME, DT)


class RealPrefect(Deployments):
    """The service's own client, and what tests do to runs from outside."""

    def __init__(self, api_url: str, server_url: str = "") -> None:
        super().__init__(api_url)
        self.server_url = server_url or api_url

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Prefect's API, past any proxy."""
        with httpx.Client(
            base_url=self.server_url, trust_env=False, timeout=60, auth=prefect_auth(os.environ)
        ) as client:
            answer = client.request(method, path, json=body)
            answer.raise_for_status()
            return answer.json() if answer.content else None

    def set_state(self, run: UUID, kind: str, name: str = "", message: str = "") -> None:
        """Force a run into a state."""
        state = {"type": kind, "name": name or kind.title(), "message": message}
        self.call("POST", f"/flow_runs/{run}/set_state", {"state": state, "force": True})

    def state(self, run: UUID) -> tuple[str, str]:
        """A run's state type and name."""
        state = self.call("GET", f"/flow_runs/{run}")["state"]
        return state["type"], state["name"]

    def runs(self, key: str) -> list[dict[str, Any]]:
        """Every run with that idempotency key."""
        filters = {"flow_runs": {"idempotency_key": {"any_": [key]}}}
        return self.call("POST", "/flow_runs/filter", filters)


class Proxy:
    """A TCP proxy before Prefect that can swallow answers, or refuse everybody."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = host, port
        self._server: asyncio.Server | None = None
        self.port = 0
        self.is_cutting = False
        self.is_away = False
        self.cut = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_away:
            writer.transport.abort()
            return
        up_reader, up_writer = await asyncio.open_connection(*self._upstream)
        creates = asyncio.Event()

        async def there() -> None:
            while data := await reader.read(65536):
                if b"create_flow_run" in data:
                    creates.set()
                up_writer.write(data)
                await up_writer.drain()

        async def back() -> None:
            while data := await up_reader.read(65536):
                if self.is_away or (self.is_cutting and creates.is_set()):
                    # Prefect has committed: this is its answer, and nobody gets it.
                    self.cut += 1
                    return
                creates.clear()
                writer.write(data)
                await writer.drain()

        both = [asyncio.create_task(there()), asyncio.create_task(back())]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            for end in (writer, up_writer):
                end.transport.abort()


@pytest.fixture(autouse=True)
def _own_clock() -> Iterator[None]:
    yield
    clock.reset()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    # The client's own retries are waited for a moment, not a quarter of a minute.
    monkeypatch.setattr("quicksilver.orchestrator.answers._ANSWER_WITHIN", 6.0)


@pytest.fixture(scope="module")
def api(prefect_api: str) -> str:
    """Prefect with a deployment that nothing ever runs."""
    prefect = RealPrefect(prefect_api)
    flow = prefect.call("POST", "/flows/", {"name": DEPLOYMENT.partition("/")[0]})
    _deploy(prefect, flow["id"])
    return prefect_api


def _deploy(prefect: RealPrefect, flow: str) -> str:
    body = {
        "name": DEPLOYMENT.partition("/")[2],
        "flow_id": flow,
        "work_pool_name": "default",
        "enforce_parameter_schema": False,
    }
    return prefect.call("POST", "/deployments/", body)["id"]


@pytest.fixture
async def prefect(api: str) -> AsyncIterator[RealPrefect]:
    prefect = RealPrefect(api)
    await prefect.open()
    yield prefect
    await prefect.close()


@pytest.fixture
async def kit(ledger_url: str, prefect: RealPrefect) -> AsyncIterator[LedgerHarness]:
    # Prefect outlives a test's ledger: keys must not meet again.
    kit = await LedgerHarness.open(ledger_url, dataset(_fresh_name()), prefect=prefect)
    yield kit
    await kit.close()


_names = iter(range(1, 1_000_000))
_current = [NAME]


def _fresh_name() -> str:
    _current[0] = f"trips-{next(_names)}"
    return _current[0]


async def _put(kit: LedgerHarness, content: str = "a", **fields: Any) -> None:
    await kit.put(content, name=_current[0], **fields)


async def _row(kit: LedgerHarness) -> dict[str, Any]:
    return await kit.row(name=_current[0])


async def _builds(kit: LedgerHarness) -> list[dict[str, Any]]:
    return await kit.builds(name=_current[0])


async def _key(kit: LedgerHarness) -> str:
    """The key of the first build of the first generation."""
    ((identity,),) = await kit.fetch("select left(id::text, 8) from quicksilver.identity")
    return f"{_current[0]}/{DT}:1:1@{identity}"


async def _dispatched(kit: LedgerHarness) -> FlowRun:
    """Dispatch the one dirty partition; its run, before it begins."""
    assert await kit.dispatcher().run_once() == 1
    return await _newest(kit)


async def _newest(kit: LedgerHarness) -> FlowRun:
    build = (await _builds(kit))[-1]
    assert build["flow_run_id"] is not None
    flow = FlowRun(kit, build["flow_run_id"], build["idempotency_key"])
    kit.flows.append(flow)
    return flow


async def _ends_well(kit: LedgerHarness) -> None:
    """The partition is dispatched, built and settled."""
    flow = await _dispatched(kit)
    assert await flow.run()
    assert await kit.settler().run_once() == 0
    assert (await _row(kit))["state"] == "built"


class TestCreating:
    async def test_a_run_with_key_parameters_and_tags(
        self, kit: LedgerHarness, prefect: RealPrefect
    ) -> None:
        await _put(kit)
        flow = await _dispatched(kit)
        run = prefect.call("GET", f"/flow_runs/{flow.id}")
        name = _current[0]
        assert run["idempotency_key"] == await _key(kit)
        assert run["parameters"] == {"dataset": name, "dt": str(DT), "generation": 1}
        assert {f"dataset:{name}", f"dt:{DT}"} <= set(run["tags"])
        assert run["state"]["type"] == "SCHEDULED"
        assert await flow.run()
        assert await kit.settler().run_once() == 0
        assert [b["state"] for b in await _builds(kit)] == ["succeeded"]

    async def test_an_answer_that_is_cut_yields_the_same_run(
        self, ledger_url: str, api: str
    ) -> None:
        url = httpx.URL(api)
        async with Proxy(url.host, url.port or 80) as proxy:
            prefect = RealPrefect(f"http://127.0.0.1:{proxy.port}/api", api)
            await prefect.open()
            kit = await LedgerHarness.open(ledger_url, dataset(_fresh_name()), prefect=prefect)
            dispatcher = kit.dispatcher()
            await _put(kit)
            proxy.is_cutting = True
            assert await dispatcher.run_once() == 0
            assert proxy.cut > 0
            key = await _key(kit)
            (made,) = prefect.runs(key)
            assert [b["state"] for b in await _builds(kit)] == ["claimed"]
            proxy.is_cutting = False
            assert await dispatcher.run_once() == 1
            (build,) = await _builds(kit)
            assert (build["state"], str(build["flow_run_id"])) == ("dispatched", made["id"])
            assert len(prefect.runs(key)) == 1
            assert (await _row(kit))["attempts"] == 0
            await together(kit.close(), prefect.close())

    async def test_prefect_away_costs_no_attempt_and_ends_by_itself(
        self, ledger_url: str, api: str
    ) -> None:
        url = httpx.URL(api)
        async with Proxy(url.host, url.port or 80) as proxy:
            proxy.is_away = True
            prefect = RealPrefect(f"http://127.0.0.1:{proxy.port}/api", api)
            await prefect.open()
            kit = await LedgerHarness.open(ledger_url, dataset(_fresh_name()), prefect=prefect)
            dispatcher = kit.dispatcher()
            await _put(kit, "0")
            assert await dispatcher.run_once() == 0
            # Events go on being accepted.
            await _put(kit, "1")
            await _put(kit, "2")
            row = await _row(kit)
            assert (row["generation"], row["attempts"], row["error"]) == (3, 0, None)
            proxy.is_away = False
            assert await dispatcher.run_once() == 1
            (build,) = await _builds(kit)
            assert (build["generation"], build["attempt"]) == (3, 1)
            await together(kit.close(), prefect.close())

    async def test_a_deployment_that_is_missing(
        self, ledger_url: str, prefect: RealPrefect
    ) -> None:
        missing = dataset(_fresh_name(), deployment="silver-build/nowhere")
        kit = await LedgerHarness.open(ledger_url, missing, prefect=prefect)
        await _put(kit)
        assert await kit.dispatcher().run_once() == 0
        row = await _row(kit)
        assert (row["state"], row["attempts"]) == ("pending", 1)
        assert "no deployment 'silver-build/nowhere': run `quicksilver init`" in row["error"]
        assert await _builds(kit) == []
        flow = prefect.call("POST", "/flows/", {"name": "silver-build"})
        body = {"name": "nowhere", "flow_id": flow["id"], "enforce_parameter_schema": False}
        made = prefect.call("POST", "/deployments/", body)
        clock.advance(timedelta(seconds=11))
        assert await kit.dispatcher().run_once() == 1
        prefect.call("DELETE", f"/deployments/{made['id']}")
        await kit.close()

    async def test_a_deployment_that_refuses_the_parameters(
        self, ledger_url: str, prefect: RealPrefect
    ) -> None:
        """409 is this deployment's alone: counted, shown, and over when it is mended."""
        refuses = dataset(_fresh_name(), deployment="silver-build/strict")
        well = dataset(f"{_current[0]}-well")
        kit = await LedgerHarness.open(ledger_url, refuses, well, prefect=prefect)
        flow = prefect.call("POST", "/flows/", {"name": "silver-build"})
        schema = {
            "type": "object",
            "properties": {name: {"type": "string"} for name in ("dataset", "dt", "day")}
            | {"generation": {"type": "integer"}},
            "required": ["day"],
        }
        body = {
            "name": "strict",
            "flow_id": flow["id"],
            "enforce_parameter_schema": True,
            "parameter_openapi_schema": schema,
        }
        made = prefect.call("POST", "/deployments/", body)
        why = await prefect.refusal_of("silver-build/strict", ("dataset", "dt", "generation"))
        assert why == "the flow of deployment silver-build/strict wants the parameter day"
        await _put(kit)
        await kit.put("a", name=well.name)
        dispatcher = kit.dispatcher()
        assert await dispatcher.run_once() == 1, "the healthy one"
        row = await _row(kit)
        assert (row["state"], row["attempts"]) == ("pending", 1)
        assert "Prefect refused creating a run of silver-build/strict: 409" in row["error"]
        change = {"enforce_parameter_schema": False}
        prefect.call("PATCH", f"/deployments/{made['id']}", change)
        clock.advance(timedelta(seconds=11))
        assert await dispatcher.run_once() == 1
        prefect.call("DELETE", f"/deployments/{made['id']}")
        await kit.close()

    async def test_a_paused_pool_says_what_holds_a_run(
        self, kit: LedgerHarness, prefect: RealPrefect
    ) -> None:
        await _put(kit)
        flow = await _dispatched(kit)
        prefect.call("PATCH", "/work_pools/default", {"is_paused": True})
        try:
            settler = kit.settler()
            clock.advance(timedelta(seconds=121))
            assert await settler.run_once() == 1, "no missed deadline"
            assert "work pool default is paused: resume it" in (await _row(kit))["error"]
            prefect.call(
                "PATCH", "/work_pools/default", {"is_paused": False, "concurrency_limit": 0}
            )
            clock.advance(timedelta(seconds=121))
            assert await settler.run_once() == 1
            assert "work pool default is full" in (await _row(kit))["error"]
        finally:
            freed = {"is_paused": False, "concurrency_limit": None}
            prefect.call("PATCH", "/work_pools/default", freed)
        assert await flow.run()
        assert await kit.settler().run_once() == 0

    async def test_a_deployment_made_anew_under_another_id(
        self, kit: LedgerHarness, prefect: RealPrefect
    ) -> None:
        await _put(kit)
        await _ends_well(kit)
        known = await prefect.deployment_id(DEPLOYMENT)
        flow = prefect.call("GET", f"/deployments/{known}")["flow_id"]
        prefect.call("DELETE", f"/deployments/{known}")
        assert _deploy(prefect, flow) != str(known)
        await _put(kit, "b")
        dispatcher = kit.dispatcher()
        assert await dispatcher.run_once() == 0, "found out by the refusal"
        assert await dispatcher.run_once() == 1
        assert (await _row(kit))["attempts"] == 0

    async def test_two_dispatchers_never_dispatch_twice(
        self, kit: LedgerHarness, prefect: RealPrefect
    ) -> None:
        for dt in days(6):
            await _put(kit, dt=dt)
        dispatchers = kit.dispatcher("one"), kit.dispatcher("two")
        fired = 0
        for _ in range(10):
            # A busy Prefect may leave some without an answer: the next pass takes them up.
            fired += sum(await together(*(d.run_once() for d in dispatchers)))
            if fired >= 4:
                break
        assert fired == 4, "max_running holds over both"
        filters = {"flow_runs": {"tags": {"all_": [f"dataset:{_current[0]}"]}}}
        runs = prefect.call("POST", "/flow_runs/filter", filters)
        assert len({run["idempotency_key"] for run in runs}) == len(runs) == 4

    async def test_killed_between_the_creation_and_the_mark(
        self, kit: LedgerHarness, prefect: RealPrefect, tmp_path: Any
    ) -> None:
        await _put(kit)
        (tmp_path / "after-create-before-mark").touch()
        killed = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", _DISPATCH, kit.url, _current[0], prefect.api_url],
            cwd=PROJECT,
            env={**os.environ, "QUICKSILVER_FAILPOINTS": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert killed.returncode == -9, killed.stderr
        (build,) = await _builds(kit)
        assert (build["state"], build["flow_run_id"]) == ("claimed", None)
        (made,) = prefect.runs(build["idempotency_key"])
        clock.advance(timedelta(minutes=1))
        assert await kit.dispatcher("heir").run_once() == 1
        (build,) = await _builds(kit)
        assert (build["state"], str(build["flow_run_id"])) == ("dispatched", made["id"])
        assert len(prefect.runs(build["idempotency_key"])) == 1

    async def test_killed_there_and_the_run_began_meanwhile(
        self, kit: LedgerHarness, prefect: RealPrefect
    ) -> None:
        await _put(kit)
        # The mark never comes; the run does not wait for it.
        (claim,) = await kit.ledger.claims.claim("dead", slots=4, lease=timedelta(seconds=30))
        folder = f"{_current[0]}/dt={DT}/"
        listing = await kit.bronze.list_folder("lake", folder)
        sealed: Any = await kit.ledger.sealing.seal(claim, "dead", listing, claim.generation)
        run = await prefect.create_run(
            DEPLOYMENT, parameters={}, key=sealed.idempotency_key, run_name="killed"
        )
        flow = FlowRun(kit, run, sealed.idempotency_key)
        clock.advance(timedelta(minutes=1))
        done, _ = await together(flow.run(), kit.dispatcher("heir").run_once())
        assert done
        await kit.settler().run_once()
        await kit.settler().run_once()
        (build,) = await _builds(kit)
        assert (build["state"], build["flow_run_id"]) == ("succeeded", run)
        assert (await _row(kit))["state"] == "built"


_DISPATCH = """
import asyncio, sys
sys.path.insert(0, ".")
from quicksilver.orchestrator.deployments import Deployments
from tests.support.ledger_harness import LedgerHarness, dataset

async def main():
    url, name, api = sys.argv[1:]
    prefect = Deployments(api)
    await prefect.open()
    kit = await LedgerHarness.open(url, dataset(name), prefect=prefect)
    kit.bronze.put(f"{name}/dt=2024-01-01/data.parquet", "a")
    await kit.dispatcher("killed").run_once()

asyncio.run(main())
"""


class TestEnding:
    @pytest.mark.parametrize("kind", ["SCHEDULED", "PENDING"])
    async def test_a_run_that_never_begins_is_replaced(
        self, kit: LedgerHarness, prefect: RealPrefect, kind: str
    ) -> None:
        await _put(kit)
        first = await _dispatched(kit)
        prefect.set_state(first.id, kind)
        assert await kit.settler().run_once() == 1
        clock.advance(timedelta(seconds=121))
        assert await kit.settler().run_once() == 0
        assert prefect.state(first.id)[0] == "CANCELLED"
        row = await _row(kit)
        assert (row["state"], row["attempts"]) == ("pending", 0), "no attempt was made"
        assert "is a worker polling?" in row["error"]
        second = await _dispatched(kit)
        assert second.id != first.id
        # Its worker comes back after all: nothing for it to do.
        assert not await first.begin()
        assert await second.run()
        await kit.settler().run_once()
        assert [b["state"] for b in await _builds(kit)] == ["lost", "succeeded"]

    async def test_a_run_past_the_time_limit_is_asked_then_replaced(
        self, kit: LedgerHarness, prefect: RealPrefect
    ) -> None:
        await _put(kit)
        first = await _dispatched(kit)
        await first.begin()
        await first.read()
        assert await kit.settler().run_once() == 1
        clock.advance(timedelta(minutes=31))
        assert await kit.settler().run_once() == 1
        assert prefect.state(first.id)[0] == "CANCELLING"
        assert await kit.settler().run_once() == 1
        clock.advance(timedelta(seconds=46))
        assert await kit.settler().run_once() == 0
        assert prefect.state(first.id)[0] == "CANCELLED"
        assert not first.commit(), "the zombie is fenced"
        row = await _row(kit)
        assert (row["state"], row["attempts"]) == ("pending", 1)
        assert row["error"] == "the build ran past the dataset's time limit"
        clock.advance(timedelta(minutes=1))
        await _ends_well(kit)

    async def test_a_run_that_stops_when_asked(
        self, kit: LedgerHarness, prefect: RealPrefect
    ) -> None:
        await _put(kit)
        flow = await _dispatched(kit)
        await flow.begin()
        clock.advance(timedelta(minutes=31))
        await kit.settler().run_once()
        # Its worker kills it, and says so.
        await flow.end("CANCELLED")
        assert await kit.settler().run_once() == 0
        row = await _row(kit)
        assert (row["state"], row["attempts"]) == ("pending", 1), "ours, not an operator's"
        clock.advance(timedelta(minutes=1))
        await _ends_well(kit)

    async def test_a_run_that_was_deleted(self, kit: LedgerHarness, prefect: RealPrefect) -> None:
        await _put(kit)
        flow = await _dispatched(kit)
        await flow.begin()
        await flow.die()
        prefect.call("DELETE", f"/flow_runs/{flow.id}")
        assert await kit.settler().run_once() == 0
        assert (await _row(kit))["error"] == "the run was deleted in Prefect"
        clock.advance(timedelta(minutes=1))
        await _ends_well(kit)

    async def test_a_run_that_failed_backs_off_and_fails_for_good(
        self, ledger_url: str, prefect: RealPrefect
    ) -> None:
        kit = await LedgerHarness.open(
            ledger_url, dataset(_fresh_name(), attempts=2), prefect=prefect
        )
        await _put(kit)
        for attempt in (1, 2):
            flow = await _dispatched(kit)
            await flow.begin()
            await flow.fail(f"row {attempt} is broken")
            await kit.settler().run_once()
            assert await kit.dispatcher().run_once() == 0
            assert (await _row(kit))["attempts"] == attempt
            clock.advance(timedelta(minutes=1))
        row = await _row(kit)
        assert (row["state"], row["error"]) == ("failed", "row 2 is broken")
        assert [b["attempt"] for b in await _builds(kit)] == [1, 2]
        await kit.close()

    async def test_a_run_that_fails_before_our_code(
        self, kit: LedgerHarness, prefect: RealPrefect
    ) -> None:
        await _put(kit)
        flow = await _dispatched(kit)
        prefect.set_state(flow.id, "CRASHED", message="the flow could not be imported")
        assert await kit.settler().run_once() == 0
        row = await _row(kit)
        assert (row["state"], row["attempts"]) == ("pending", 1)
        assert row["error"] == "the flow could not be imported"

    async def test_an_operator_cancels(self, kit: LedgerHarness, prefect: RealPrefect) -> None:
        await _put(kit)
        flow = await _dispatched(kit)
        await flow.begin()
        await flow.end("CANCELLED")
        assert await kit.settler().run_once() == 0
        row = await _row(kit)
        assert row["state"] == "failed"
        assert "quicksilver rebuild" in row["error"]
        assert [b["state"] for b in await _builds(kit)] == ["cancelled"]
        await kit.ledger.recording.rebuild([Partition.of_day(_current[0], DT)])
        await _ends_well(kit)

    async def test_our_own_cancel_is_never_taken_for_an_operators(
        self, kit: LedgerHarness, prefect: RealPrefect
    ) -> None:
        """The settler dies between Prefect's cancel and its own last word."""
        await _put(kit)
        flow = await _dispatched(kit)
        clock.advance(timedelta(seconds=121))
        kit.warehouse.is_away = True
        with contextlib.suppress(Exception):
            await kit.settler().run_once()
        assert prefect.state(flow.id)[0] == "CANCELLED"
        kit.warehouse.is_away = False
        assert await kit.settler().run_once() == 0
        row = await _row(kit)
        assert (row["state"], row["attempts"]) == ("pending", 0)
        await _ends_well(kit)

    async def test_a_process_that_is_gone_is_revoked_and_replaced(
        self, kit: LedgerHarness, prefect: RealPrefect
    ) -> None:
        await _put(kit)
        first = await _dispatched(kit)
        await first.begin()
        await first.read()
        await first.die()
        settler = kit.settler()
        assert await settler.run_once() == 1, "a moment of grace"
        clock.advance(timedelta(seconds=6))
        assert await settler.run_once() == 0
        assert prefect.state(first.id)[0] == "CANCELLED"
        assert not first.commit(), "whatever of it still lives can write no more"
        row = await _row(kit)
        assert (row["attempts"], row["error"]) == (1, "the flow's process is gone")
        clock.advance(timedelta(minutes=1))
        await _ends_well(kit)

    async def test_a_process_that_comes_back_in_time(self, kit: LedgerHarness) -> None:
        await _put(kit)
        flow = await _dispatched(kit)
        await flow.begin()
        held, flow.hold = flow.hold, None
        assert held is not None
        assert flow.begun is not None
        await held.execute("select pg_advisory_unlock_all()")
        settler = kit.settler()
        await settler.run_once()
        await held.execute(
            "select pg_try_advisory_lock(%s, %s)",
            (0x51_53, flow.begun.id),
        )
        await settler.run_once()
        clock.advance(timedelta(seconds=6))
        assert await settler.run_once() == 1
        flow.hold = held
        assert await flow.read()
        assert flow.commit()
        await flow.mark()
        await flow.end("COMPLETED")
        assert await settler.run_once() == 0

    @pytest.mark.parametrize("is_seen", [True, False])
    async def test_published_and_died_is_a_success_without_a_second_build(
        self, kit: LedgerHarness, prefect: RealPrefect, is_seen: bool
    ) -> None:
        await _put(kit)
        flow = await _dispatched(kit)
        await flow.begin()
        await flow.read()
        assert flow.commit()
        await flow.die()
        if is_seen:
            prefect.set_state(flow.id, "CRASHED")
        settler = kit.settler()
        for _ in range(4):
            await settler.run_once()
            clock.advance(timedelta(seconds=6))
        assert [b["state"] for b in await _builds(kit)] == ["succeeded"]
        row = await _row(kit)
        assert (row["state"], row["attempts"], row["rows_silver"]) == ("built", 0, 1)
        assert await kit.dispatcher().run_once() == 0
        assert len(kit.warehouse.history) == 1

    async def test_marked_and_died_ends_too(self, kit: LedgerHarness, prefect: RealPrefect) -> None:
        await _put(kit)
        flow = await _dispatched(kit)
        await flow.begin()
        await flow.read()
        flow.commit()
        await flow.mark()
        await flow.die()
        settler = kit.settler()
        assert await settler.run_once() == 1
        clock.advance(timedelta(seconds=6))
        assert await settler.run_once() == 0
        assert prefect.state(flow.id)[0] == "COMPLETED"
        assert [b["state"] for b in await _builds(kit)] == ["succeeded"]
        await _put(kit, "b")
        await _ends_well(kit)

    async def test_prefect_away_settles_nothing_and_says_so(self, kit: LedgerHarness) -> None:
        await _put(kit)
        await _dispatched(kit)
        away = RealPrefect("http://127.0.0.1:1/api")
        await away.open()
        kit.prefect = cast("Any", away)
        with pytest.raises(PrefectUnavailableError):
            await kit.settler().run_once()
        await away.close()
        assert [b["state"] for b in await _builds(kit)] == ["dispatched"]
