"""Versity S3 Gateway, really run: it sends once and without a token, and keys as they are."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pytest
from minio import Minio
from minio.commonconfig import CopySource

from quicksilver.domain.datasets import load_datasets
from quicksilver.lake.bronze import Bronze, minio_client
from quicksilver.lake.detect import contradiction, detect_store
from quicksilver.lake.rules import make_buckets
from quicksilver.operators.doctor.check import BrokenError, Probe
from quicksilver.operators.doctor.defects import check_defects
from quicksilver.roles.canary import send_canary
from quicksilver.roles.canary_watch import CanaryWatch
from quicksilver.roles.sweep import Sweep
from quicksilver.settings import Settings
from quicksilver.stack.ports import LOOPBACK, choose_port
from tests.support.checkout import PROJECT
from tests.support.payloads import PREFIX
from tests.support.receiver import TOKEN, Receiver, serving
from tests.support.versity import Gateway, gateway
from tests.support.waiting import until

BUCKET = "datasets"
# What form encoding would change in both directions.
ODD = f"{PREFIX}2024-01-01/a+b %41.parquet"


@dataclass
class Lake:
    """A gateway whose events reach a real receiver."""

    gateway: Gateway
    receiver: Receiver
    settings: Settings
    client: Minio

    async def put(self, key: str, body: bytes = b"x") -> None:
        await asyncio.to_thread(self.client.put_object, BUCKET, key, BytesIO(body), len(body))

    async def told(self, key: str, count: int = 1) -> list[dict[str, object]]:
        """The events of a key, once so many are there."""

        def enough() -> list[dict[str, object]]:
            found = [event for event in self.receiver.events() if event["key"] == key]
            return found if len(found) >= count else []

        return await asyncio.to_thread(until, enough, f"{count} events of {key}", within=20)

    def sweep(self) -> Sweep:
        return Sweep(self.settings, self.receiver.app.state.ledger, Bronze(self.settings))

    def listed(self) -> dict[str, str]:
        found = Bronze(self.settings).walk(BUCKET, "bronze/")
        return {listed.key: listed.etag for listed in found}

    def known(self) -> dict[str, str]:
        rows = self.receiver.rows("select key, etag from quicksilver.object")
        return {row["key"]: row["etag"] for row in rows}


@asynccontextmanager
async def lake_of(folder: Path, ledger_url: str) -> AsyncGenerator[Lake]:
    port = choose_port(None)
    async with AsyncExitStack() as stack:
        found = stack.enter_context(gateway(folder, f"http://{LOOPBACK}:{port}", TOKEN))
        settings = found.settings()
        own = {name: getattr(settings, name) for name in ("store", "minio_endpoint_url")}
        own |= {"minio_access_key": settings.minio_access_key}
        own |= {"minio_secret_key": settings.minio_secret_key.get_secret_value()}
        receiver = await stack.enter_async_context(
            serving(ledger_url, port=port, bronze=Bronze(settings), **own)
        )
        await asyncio.to_thread(found.start)
        datasets = load_datasets(PROJECT / "datasets.yaml")
        await asyncio.to_thread(make_buckets, settings, datasets, lambda _: None)
        yield Lake(found, receiver, settings, minio_client(settings))


async def test_what_lands_is_told_with_the_key_that_it_has(tmp_path: Path, ledger_url: str) -> None:
    async with lake_of(tmp_path, ledger_url) as lake:
        await lake.put(ODD)
        (event,) = await lake.told(ODD)
        assert event["fast_at"] is not None
        assert (event["reason"], event["etag"]) == ("settling", lake.listed()[ODD])

        whole = f"{PREFIX}2024-02-01/multipart.parquet"
        part = 5 * 1024 * 1024
        await asyncio.to_thread(
            lambda: lake.client.put_object(
                BUCKET, whole, BytesIO(b"x" * (part + 1)), part + 1, part_size=part
            )
        )
        (event,) = await lake.told(whole)
        assert event["event_name"] == "ObjectCreated:CompleteMultipartUpload"
        assert event["etag"] == lake.listed()[whole]

        copy = f"{PREFIX}2024-03-01/copy.parquet"
        await asyncio.to_thread(lake.client.copy_object, BUCKET, copy, CopySource(BUCKET, ODD))
        (event,) = await lake.told(copy)
        assert event["event_name"] == "ObjectCreated:Copy"

        await asyncio.to_thread(lake.client.remove_object, BUCKET, ODD)
        gone = (await lake.told(ODD, 2))[-1]
        assert gone["reason"] == "ignored:delete"
        # Nothing was lost, so the sweep finds nothing new.
        assert sum(result.found for result in await lake.sweep().run_once()) == 0


async def test_a_canary_measures_its_one_lane(tmp_path: Path, ledger_url: str) -> None:
    async with lake_of(tmp_path, ledger_url) as lake:
        ledger = lake.receiver.app.state.ledger
        seen = await send_canary(lake.client, ledger, BUCKET, lanes=("fast",), patience=10)
        assert seen.fast is not None
        assert 0 <= seen.fast < 3
        assert seen.durable is None

        sweep = lake.sweep()
        watch = CanaryWatch(lake.settings, ledger, sweep, patience=10)
        assert await watch.run_once() == 0
        (row,) = await ledger.watch.lane_states()
        assert (row["fast_state"], row["durable_state"]) == ("up", "none")
        # Nothing sends again what it loses: swept more often than with a durable lane.
        assert sweep.interval == 4 * lake.settings.sweep_degraded


async def test_it_is_detected_and_its_keys_are_seen_through(
    tmp_path: Path, ledger_url: str
) -> None:
    async with lake_of(tmp_path, ledger_url) as lake:
        url = lake.settings.minio_endpoint_url
        assert await asyncio.to_thread(detect_store, url) == ("versity", "Versity S3 Gateway")
        wrong = await asyncio.to_thread(contradiction, "minio", url)
        assert wrong == f"Versity S3 Gateway answers at {url}, but QUICKSILVER_STORE is minio"
        ledger = lake.receiver.app.state.ledger
        for store in ("versity", "other", "aws"):
            used = lake.settings.model_copy(update={"store": store})
            lake.receiver.app.state.settings = lake.receiver.app.state.settings.model_copy(
                update={"store": store}
            )
            checked = check_defects(Probe(used), lake.client, ledger, BUCKET)
            if store != "aws":
                await checked
                continue
            with pytest.raises(BrokenError, match="as they are, which QUICKSILVER_STORE=aws does"):
                await checked


async def test_a_store_that_does_not_tell_is_listed(tmp_path: Path, ledger_url: str) -> None:
    async with lake_of(tmp_path, ledger_url) as lake:
        lake.gateway.kill()
        del lake.gateway.environment["VGW_EVENT_WEBHOOK_URL"]
        await asyncio.to_thread(lake.gateway.start)
        ledger = lake.receiver.app.state.ledger
        settings = lake.settings.model_copy(update={"store": "other"})
        sweep = lake.sweep()
        watch = CanaryWatch(settings, ledger, sweep, patience=1)
        assert await watch.run_once() == 0
        (row,) = await ledger.watch.lane_states()
        assert (row["fast_state"], row["durable_state"]) == ("none", "none")
        assert sweep.interval == settings.sweep_degraded
        assert await ledger.notices.alerts() == []
        await lake.put(ODD)
        assert sum(result.found for result in await sweep.run_once()) == 1
        assert lake.known() == lake.listed()


@pytest.mark.parametrize("killed", ["gateway", "receiver"])
async def test_after_a_kill_the_sweep_finds_what_was_lost(
    tmp_path: Path, ledger_url: str, killed: str
) -> None:
    keys = [f"{PREFIX}2024-{month:02}-01/data.parquet" for month in range(1, 13)]
    async with lake_of(tmp_path, ledger_url) as lake:
        for place, key in enumerate(keys):
            await lake.put(key, str(place).encode())
            if place == 5 and killed == "gateway":
                lake.gateway.kill()
                await asyncio.to_thread(lake.gateway.start)
            if place == 5 and killed == "receiver":
                # Nobody listens any more: what is sent now is sent once, and lost.
                lake.receiver.stop()
        listed = lake.listed()
        assert len(listed) == 12
        found = sum(result.found for result in await lake.sweep().run_once())
        assert lake.known() == listed
        if killed == "receiver":
            assert found >= 6
        assert await lake.sweep().run_once() is not None
        rows = lake.receiver.rows("select generation from quicksilver.partition")
        assert [row["generation"] for row in rows] == [1] * 12
