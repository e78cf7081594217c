"""Canaries on real MinIO and the real receiver; each lane broken at each hop, and mended again."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from minio import Minio
from minio.notificationconfig import NotificationConfig

from quicksilver.app import create_app
from quicksilver.domain.datasets import Dataset, Datasets
from quicksilver.domain.event import ObjectEvent
from quicksilver.domain.partition import CANARY_PREFIX
from quicksilver.intake.group_commit import Recorder
from quicksilver.intake.refusals import Refusals
from quicksilver.lake.bronze import Bronze, minio_client
from quicksilver.lake.rules import wanted_rules
from quicksilver.lake.targets import target_arn
from quicksilver.ledger import Ledger
from quicksilver.operators.doctor.check import BrokenError, Probe
from quicksilver.operators.doctor.defects import check_defects
from quicksilver.roles.alerts import clear_alert, raise_alert
from quicksilver.roles.canary import CanaryResult
from quicksilver.roles.canary_watch import CanaryWatch
from quicksilver.roles.loop import Job, run_job
from quicksilver.roles.sweep import Sweep
from quicksilver.settings import Settings, load_settings
from quicksilver.stack.ports import LOOPBACK, choose_port
from quicksilver.support import clock
from quicksilver.support.postgres import Database
from tests.support.declared import arrive
from tests.support.servers import MinioServer
from tests.support.waiting import until

BODIES = Path(__file__).parent.parent / "bodies"

# The durable lane's directory is read every 3 s.
PATIENCE = 4.5

_buckets = itertools.count(1)


@dataclass
class Lanes:
    """A bucket whose events reach a real receiver, through a proxy that can refuse a lane."""

    settings: Settings
    ledger: Ledger
    bucket: str
    datasets: Datasets
    client: Minio
    port: int
    dropped: set[str] = field(default_factory=set[str])

    def watch(self, **settings: Any) -> CanaryWatch:
        """A canary watch with a sweep of its own."""
        used = self.settings.model_copy(update=settings)
        self.sweep = Sweep(used, self.ledger, Bronze(used))
        return CanaryWatch(used, self.ledger, self.sweep, patience=PATIENCE)

    @asynccontextmanager
    async def receiver(self, tokens: Collection[Any] | None = None) -> AsyncGenerator[None]:
        """The receiver behind the proxy, until the end of the block."""
        app = create_app(
            self.settings.model_copy(update={"webhook_tokens": tokens} if tokens else {})
        )
        app.state.ledger, app.state.recorder = self.ledger, Recorder(self.ledger)
        refusals: Refusals = app.state.refusals
        telling = asyncio.create_task(
            run_job(Job("refusals", lambda: refusals.run_once(self.ledger), 0.5))
        )

        async def proxy(scope: Any, receive: Any, send: Any) -> None:
            lane = scope.get("query_string", b"").decode().removeprefix("lane=")
            if lane in self.dropped:
                await send({"type": "http.response.start", "status": 502, "headers": []})
                await send({"type": "http.response.body", "body": b""})
            else:
                await app(scope, receive, send)

        config = uvicorn.Config(
            proxy, host=LOOPBACK, port=self.port, lifespan="off", log_level="warning"
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        while not server.started:
            assert not serving.done()
            await asyncio.sleep(0.01)
        try:
            yield
        finally:
            telling.cancel()
            server.should_exit = True
            await serving
            await app.state.recorder.close()

    def set_rules(self, *lanes: str) -> None:
        """The bucket's rules, for these lanes only."""
        arns = {target_arn(f"QUICKSILVER_{lane.upper()}") for lane in lanes}
        rules = [r for r in wanted_rules(self.datasets, self.bucket) if r.queue in arns]
        self.client.set_bucket_notification(
            self.bucket, NotificationConfig(queue_config_list=rules)
        )

    async def open_alerts(self) -> dict[str, str]:
        """Raised and not cleared: text by kind and subject."""
        rows = await self.ledger.notices.alerts()
        return {f"{row['kind']}:{row['subject']}": row["text"] for row in rows}

    async def state(self) -> dict[str, Any]:
        """The newest measure."""
        (row,) = await self.ledger.watch.lane_states()
        return row


@pytest.fixture
async def lanes(ledger_url: str, minio_server: MinioServer) -> AsyncGenerator[Lanes]:
    """A fresh bucket with both lanes' rules."""
    bucket = f"canaries-{next(_buckets)}"
    settings = load_settings(
        database_url=ledger_url,
        minio_endpoint_url=minio_server.endpoint_url,
        minio_access_key=minio_server.access_key,
        minio_secret_key=minio_server.secret_key,
        webhook_tokens=f"{minio_server.fast_token},{minio_server.durable_token}",
        url=minio_server.receiver_url,
    )
    declared = Dataset(
        name="trips", bucket=bucket, key="trips/dt={dt}/{file}", deployment="silver-build/trips"
    )
    datasets = Datasets(datasets=(declared,), path=Path("datasets.yaml"))
    database = Database(ledger_url, size=4)
    await database.open()
    client = minio_client(settings)
    client.make_bucket(bucket)
    port = int(minio_server.receiver_url.rpartition(":")[2])
    ledger = Ledger(database, datasets)
    await ledger.upkeep.sync_datasets()
    stage = Lanes(settings, ledger, bucket, datasets, client, port)
    stage.set_rules("fast", "durable")
    try:
        yield stage
    finally:
        stage.set_rules()
        await database.close()


async def test_both_lanes_are_measured_and_nothing_is_left(lanes: Lanes) -> None:
    watch = lanes.watch()
    async with lanes.receiver():
        assert await watch.run_once() == 0
    row = await lanes.state()
    assert (row["fast_state"], row["durable_state"], row["fault"]) == ("up", "up", None)
    assert 0 <= row["fast_lag"] < 1
    assert 0 <= row["durable_lag"] < PATIENCE
    assert await lanes.open_alerts() == {}
    assert lanes.sweep.interval == 300
    assert list(lanes.client.list_objects(lanes.bucket, recursive=True)) == []


async def test_a_rule_that_is_gone(lanes: Lanes) -> None:
    watch = lanes.watch()
    async with lanes.receiver():
        lanes.set_rules("durable")
        assert await watch.run_once() == 1
        row = await lanes.state()
        assert (row["fast_state"], row["durable_state"]) == ("silent", "up")
        (text,) = (await lanes.open_alerts()).values()
        assert "no notification rule for QUICKSILVER_FAST" in text
        assert "`quicksilver init`" in text
        # One lane still tells of everything: more often, but not as if nothing did.
        assert lanes.sweep.interval == 120
        lanes.set_rules("fast", "durable")
        assert await watch.run_once() == 0
    assert lanes.sweep.interval == 300
    assert await lanes.open_alerts() == {}


async def test_a_token_that_is_refused(lanes: Lanes) -> None:
    watch = lanes.watch()
    async with lanes.receiver(lanes.settings.webhook_tokens[:1]):
        assert await watch.run_once() == 1
        assert (await lanes.state())["durable_state"] == "silent"
        alerts = await lanes.open_alerts()
        assert list(alerts) == [f"lane:{lanes.bucket}/durable"]
        assert "refuses the durable lane's token" in alerts[f"lane:{lanes.bucket}/durable"]
    async with lanes.receiver():
        assert await watch.run_once() == 0
    assert await lanes.open_alerts() == {}


async def test_a_proxy_that_lets_one_lane_not_through(lanes: Lanes) -> None:
    watch = lanes.watch()
    lanes.dropped = {"fast"}
    async with lanes.receiver():
        assert await watch.run_once() == 1
        (text,) = (await lanes.open_alerts()).values()
        assert "does a proxy between them let it through" in text
        lanes.dropped = set()
        assert await watch.run_once() == 0


async def test_no_receiver_push_becomes_polling_and_recovers(lanes: Lanes) -> None:
    watch = lanes.watch()
    assert await watch.run_once() == 2
    alerts = await lanes.open_alerts()
    assert sorted(alerts) == [f"lane:{lanes.bucket}/durable", f"lane:{lanes.bucket}/fast"]
    assert all("does not reach the receiver" in text for text in alerts.values())
    assert lanes.sweep.interval == 30
    assert lanes.sweep.changed.is_set()
    lanes.client.put_object(lanes.bucket, "trips/dt=2024-01-01/a.parquet", BytesIO(b"a"), 1)
    (swept,) = await lanes.sweep.run_once()
    assert swept.found == 1
    # Told once, however often it is seen.
    lanes.sweep.changed.clear()
    assert await watch.run_once() == 2
    assert len(await lanes.ledger.notices.alerts(is_open=False)) == 2
    assert not lanes.sweep.changed.is_set()
    async with lanes.receiver():
        assert await watch.run_once() == 0
    assert lanes.sweep.interval == 300
    assert lanes.sweep.changed.is_set()
    assert await lanes.open_alerts() == {}
    assert all(row["cleared_at"] for row in await lanes.ledger.notices.alerts(is_open=False))


async def test_credentials_that_may_not_put(lanes: Lanes) -> None:
    watch = lanes.watch(minio_access_key="nobody")
    assert await watch.run_once() == 2
    row = await lanes.state()
    assert (row["fast_state"], row["durable_state"]) == ("unknown", "unknown")
    (text,) = (await lanes.open_alerts()).values()
    assert "the store refused a canary" in text
    # Nothing is known of the lanes: nothing is said of them, and the sweep cannot help.
    assert lanes.sweep.interval == 300


async def test_minio_that_is_away(lanes: Lanes) -> None:
    watch = lanes.watch(minio_endpoint_url=f"http://{LOOPBACK}:{choose_port(None)}")
    assert await watch.run_once() == 2
    alerts = await lanes.open_alerts()
    assert list(alerts) == [f"canary:{lanes.bucket}"]
    assert "the store cannot be reached" in alerts[f"canary:{lanes.bucket}"]


async def test_an_alert_is_raised_once_and_cleared_once(lanes: Lanes) -> None:
    ledger = lanes.ledger
    raised = await asyncio.gather(*(raise_alert(ledger, "k", "s", "why") for _ in range(6)))
    assert sorted(raised) == [False] * 5 + [True]
    cleared = await asyncio.gather(*(clear_alert(ledger, "k", "s") for _ in range(6)))
    assert sorted(cleared) == [False] * 5 + [True]
    assert await raise_alert(ledger, "k", "s", "again")
    assert [row["text"] for row in await ledger.notices.alerts()] == ["again"]


async def test_refusals_reach_the_ledger_and_other_names_do_not(lanes: Lanes) -> None:
    refusals, ledger, before = Refusals(), lanes.ledger, clock.now()
    for lane in ("durable", "durable", "nonsense", None):
        refusals.note(lane)
    assert await refusals.run_once(ledger) == 1
    assert await refusals.run_once(ledger) == 0
    assert await ledger.watch.refused_since("durable", before)
    assert not await ledger.watch.refused_since("durable", clock.now())
    assert not await ledger.watch.refused_since("fast", before)


async def test_a_durable_lane_that_works_off_its_queue_is_late_and_no_alarm(
    lanes: Lanes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def missed(_: Any, ledger: Ledger, bucket: str, **__: Any) -> CanaryResult:
        at = clock.now()
        event = ObjectEvent(
            "ObjectCreated:Put", bucket, "trips/dt=2024-01-01/a", "a", None, 1, None, at
        )
        await ledger.recording.record(
            [arrive(event, lanes.datasets, "durable", "127.0.0.1", clock.now())]
        )
        return CanaryResult(0.002, None, "k", at)

    def no_fault(*_: Any) -> None:
        return None

    monkeypatch.setattr("quicksilver.roles.canary_watch.send_canary", missed)
    monkeypatch.setattr("quicksilver.roles.lane_faults.target_fault", no_fault)
    watch = lanes.watch()
    assert await watch.run_once() == 0
    assert (await lanes.state())["durable_state"] == "late"
    assert await lanes.open_alerts() == {}
    assert lanes.sweep.interval == 300


async def defects(lanes: Lanes) -> str:
    """What `quicksilver doctor` says of this bucket's store."""
    probe = Probe(lanes.settings, patience=PATIENCE)
    try:
        await check_defects(probe, lanes.client, lanes.ledger, lanes.bucket)
    except BrokenError as error:
        return f"{error.found}: {error.fix}"
    return ""


async def test_odd_keys_and_uploads_in_parts_come_as_well(lanes: Lanes) -> None:
    async with lanes.receiver():
        assert await defects(lanes) == ""
    assert list(lanes.client.list_objects(lanes.bucket, recursive=True)) == []


async def test_a_store_that_does_not_tell_of_uploads_in_parts(lanes: Lanes) -> None:
    rules = [
        replace(rule, events=["s3:ObjectCreated:Put"])
        for rule in wanted_rules(lanes.datasets, lanes.bucket)
    ]
    lanes.client.set_bucket_notification(lanes.bucket, NotificationConfig(queue_config_list=rules))
    async with lanes.receiver():
        said = await defects(lanes)
    assert said.startswith("MinIO tells of plain uploads to")
    assert "not of those in parts: have its rules tell of s3:ObjectCreated:*" in said


async def test_a_store_that_tells_of_uploads_without_their_keys(lanes: Lanes) -> None:
    body = (BODIES / "rustfs_multipart_empty_key.json").read_bytes()
    lanes.set_rules()

    async def tell() -> None:
        url = f"http://{LOOPBACK}:{lanes.port}/events/minio?lane=fast"
        token = lanes.settings.webhook_tokens[0].get_secret_value()
        async with httpx.AsyncClient(trust_env=False) as client:
            await asyncio.to_thread(
                until,
                lambda: list(lanes.client.list_objects(lanes.bucket, prefix=CANARY_PREFIX)),
                "the canary",
            )
            answer = await client.post(
                url, content=body, headers={"authorization": f"Bearer {token}"}
            )
        assert answer.text.strip() == "quarantined: bad-key:rustfs"

    async with lanes.receiver():
        said, _ = await asyncio.gather(defects(lanes), tell())
    assert said.startswith("MinIO tells of an upload without its key (bad-key:rustfs)")
