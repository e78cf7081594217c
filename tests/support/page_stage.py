"""The real application on a free port over a real ledger, for a real browser to look at.

Prefect and the dispatcher are left out: a test drives the ledger's own methods in their place, so
that it decides when a build begins and ends.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus
from uuid import uuid4

import httpx
import uvicorn
from fastapi import FastAPI

from quicksilver.app import create_app
from quicksilver.domain.datasets import Dataset, load_datasets
from quicksilver.domain.manifest import ListedObject
from quicksilver.domain.partition import Partition
from quicksilver.domain.states import BuildState
from quicksilver.intake.group_commit import Recorder
from quicksilver.lake.bronze import Bronze
from quicksilver.ledger import ClaimedBuild, Ledger, SealedBuild
from quicksilver.ledger.listener import LedgerListener
from quicksilver.operators.reconciling import Reconciler
from quicksilver.roles.health import HealthWatch
from quicksilver.roles.loop import Job, run_job
from quicksilver.roles.notifier import Notifier
from quicksilver.roles.sweep import Sweep
from quicksilver.roles.watchdog import Watchdog
from quicksilver.settings import Settings, load_settings
from quicksilver.support import clock
from quicksilver.support.postgres import Database
from tests.support.declared import folder
from tests.support.servers import MinioServer

MONTHLY = "nyc_tlc.yellow_tripdata"
DAILY = "weather.stations"
BUCKET = "page-datasets"
TOKEN = "an-operator's-token"
WEBHOOK = "a-webhook-token"
OWNER = "test"

_DATASETS = f"""
datasets:
  {MONTHLY}:
    bucket: {BUCKET}
    key: bronze/nyc_tlc/yellow_tripdata/dt={{dt}}/{{file}}
    deployment: silver-build/nyc-tlc
  {DAILY}:
    bucket: {BUCKET}
    key: bronze/weather/dt={{dt}}/{{file}}
    deployment: silver-build/weather
    ready:
      marker: _SUCCESS
gates:
  gold-year:
    datasets: [{MONTHLY}]
    each: year
    deployment: gold-year/nyc-tlc
"""

DETAILS: dict[str, Any] = {
    "rejected_by_reason": {"negative total": 71, "no distance": 68, "outside the month": 2},
    "timings": {"open": 0.021, "load": 0.412, "dbt": 0.688, "publish": 0.051},
    "new_columns": ["cbd_congestion_fee"],
    "warnings": [],
    "dbt": [
        {"name": "stg_yellow_tripdata", "kind": "model", "status": "success", "seconds": 0.11},
        {"name": "yellow_trips", "kind": "model", "status": "success", "seconds": 0.29},
        {
            "name": "bronze_is_silver_plus_rejected_for_every_partition",
            "kind": "test",
            "status": "pass",
            "seconds": 0.04,
        },
    ],
}


@dataclass
class Site:
    """The running application, its ledger, and what happens to both."""

    url: str
    app: FastAPI
    settings: Settings
    ledger: Ledger
    objects: dict[Partition, list[ListedObject]] = field(default_factory=dict)

    def watchdog(self) -> Watchdog:
        """What raises and clears alerts; a test has it look when it wants."""
        notifier = Notifier(self.settings, self.ledger)
        return Watchdog(self.settings, self.ledger, self.app.state.health, notifier)

    def dataset(self, name: str) -> Dataset:
        """A declared dataset."""
        return self.ledger.datasets.get(name)

    async def land(
        self,
        dataset: str,
        dt: str,
        *,
        file: str = "data.parquet",
        lanes: tuple[str, ...] = ("fast", "durable"),
        after: float = 0.003,
    ) -> Partition:
        """An object lands: its event comes on each lane, `after` seconds of the service's clock."""
        partition = Partition.of_day(dataset, date.fromisoformat(dt))
        key = folder(self.dataset(dataset), partition.dt) + file
        etag, put_at = uuid4().hex, clock.now()
        listed = self.objects.setdefault(partition, [])
        listed[:] = [o for o in listed if o.key != key]
        listed.append(ListedObject(key, etag, 184_320, put_at))
        body = notification(key, etag, put_at)
        for lane in lanes:
            clock.advance(timedelta(seconds=after if lane == "fast" else 1.4))
            await self.tell(body, lane)
        return partition

    async def tell(self, body: bytes, lane: str = "fast") -> str:
        """Post a notification as MinIO does; the receiver's answer."""
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.post(
                f"{self.url}/events/minio?lane={lane}",
                content=body,
                headers={"Authorization": f"Bearer {WEBHOOK}"},
            )
        assert answer.status_code == 200, answer.text
        return answer.text

    async def claim(self, partition: Partition) -> ClaimedBuild:
        """A dispatcher takes the partition up."""
        found = await self.ledger.claims.claim(
            OWNER, slots=50, lease=timedelta(minutes=5), only=partition
        )
        assert len(found) == 1, f"{partition} could not be claimed"
        return found[0]

    async def dispatch(self, partition: Partition) -> SealedBuild:
        """Claimed, sealed, and handed to Prefect."""
        build = await self.claim(partition)
        seen = await self.ledger.settlement.generation(partition)
        listing = self.objects.get(partition, [])
        sealed = await self.ledger.sealing.seal(build, OWNER, listing, seen)
        assert isinstance(sealed, SealedBuild), sealed
        clock.advance(timedelta(seconds=0.064))
        run = uuid4()
        assert await self.ledger.claims.mark_dispatched(
            [sealed], OWNER, run, start_within=timedelta(minutes=2)
        )
        clock.advance(timedelta(seconds=0.61))
        assert await self.ledger.runs.begin(
            sealed.idempotency_key, run, time_limit=timedelta(minutes=30)
        )
        return sealed

    async def succeed(self, sealed: SealedBuild, rows: int = 10_000) -> None:
        """The flow publishes, and its run ends well."""
        clock.advance(timedelta(seconds=0.43))
        loaded_at = clock.now()
        clock.advance(timedelta(seconds=0.72))
        assert await self.ledger.runs.publish(
            sealed.id,
            rows_bronze=rows,
            rows_silver=rows - 141,
            rows_rejected=141,
            loaded_at=loaded_at,
            details=DETAILS,
        )
        await self._finish(sealed, BuildState.SUCCEEDED)

    async def fail(self, sealed: SealedBuild, error: str, *, again: bool = False) -> None:
        """The run fails, for good or to be tried again."""
        clock.advance(timedelta(seconds=0.9))
        await self.ledger.runs.record_error(sealed.id, error)
        retry_at = clock.now() + timedelta(minutes=3) if again else None
        await self._finish(sealed, BuildState.FAILED, error=error, counted=True, retry_at=retry_at)

    async def _finish(self, sealed: SealedBuild, state: BuildState, **how: Any) -> None:
        build = next(b for b in await self.ledger.settlement.active_builds() if b.id == sealed.id)
        assert await self.ledger.settlement.finish(build, state, **how)

    async def build(self, partition: Partition, rows: int = 10_000) -> None:
        """The whole way to silver."""
        await self.succeed(await self.dispatch(partition), rows)


def notification(key: str, etag: str, put_at: datetime, bucket: str = BUCKET) -> bytes:
    """A body as MinIO sends it."""
    encoded = quote_plus(key)
    record = {
        "eventVersion": "2.0",
        "eventSource": "minio:s3",
        "eventTime": f"{put_at:%Y-%m-%dT%H:%M:%S}.{put_at.microsecond // 1000:03d}Z",
        "eventName": "s3:ObjectCreated:Put",
        "s3": {
            "bucket": {"name": bucket},
            "object": {
                "key": encoded,
                "size": 184_320,
                "eTag": etag,
                "sequencer": f"{int(put_at.timestamp() * 1e9):X}",
            },
        },
    }
    body = {"EventName": "s3:ObjectCreated:Put", "Key": f"{bucket}/{key}", "Records": [record]}
    return json.dumps(body).encode()


@asynccontextmanager
async def serve(
    folder_: Path, ledger_url: str, minio: MinioServer, **overrides: Any
) -> AsyncGenerator[Site]:
    """The application on a free port, until the end of the block."""
    file = folder_ / "datasets.yaml"
    file.write_text(_DATASETS)
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    settings = load_settings(
        **{
            "database_url": ledger_url,
            "datasets_file": file,
            "webhook_tokens": WEBHOOK,
            "operator_tokens": TOKEN,
            "minio_endpoint_url": minio.endpoint_url,
            "minio_access_key": minio.access_key,
            "minio_secret_key": minio.secret_key,
            "url": url,
            **overrides,
        }
    )
    app = create_app(settings)
    database = Database(ledger_url)
    await database.open()
    ledger = Ledger(database, load_datasets(file))
    await ledger.upkeep.sync_datasets()
    bronze, wake = Bronze(settings), LedgerListener(ledger_url)
    app.state.ledger, app.state.recorder, app.state.wake = ledger, Recorder(ledger), wake
    app.state.bronze = bronze
    app.state.health = HealthWatch(settings, ledger)
    app.state.reconciler = Reconciler(settings, Sweep(settings, ledger, bronze))
    server = uvicorn.Server(
        uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=3)
    )
    listening = asyncio.create_task(run_job(Job("wake", wake.run_once, 0.2)))
    serving = asyncio.create_task(server.serve([listener]))
    try:
        while not server.started:
            assert not serving.done(), "the application did not start"
            await asyncio.sleep(0.01)
        yield Site(url, app, settings, ledger)
    finally:
        server.should_exit = True
        await serving
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await app.state.recorder.close()
        await database.close()
        clock.reset()
