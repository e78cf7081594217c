"""Ceph's gateway, really run: two topics, of which the persistent one is the durable lane.

`make stores` runs it, not `make test`: a cluster takes half a minute to start, and root to install.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import httpx
import psycopg
import pytest
import urllib3
from minio import Minio
from minio.error import MinioException
from psycopg.rows import dict_row

from quicksilver.domain.datasets import load_datasets
from quicksilver.errors import QuicksilverError
from quicksilver.lake.bronze import Bronze, minio_client
from quicksilver.lake.ceph import configure_topics
from quicksilver.roles.canary import send_canary
from quicksilver.roles.canary_watch import CanaryWatch
from quicksilver.roles.sweep import Sweep
from quicksilver.settings import Settings
from quicksilver.stack.ports import LOOPBACK, choose_port
from quicksilver.support import failpoint
from tests.support.ceph import Ceph, ceph, install_ceph
from tests.support.checkout import PROJECT
from tests.support.payloads import PREFIX
from tests.support.receiver import TOKEN, Receiver, serving
from tests.support.waiting import until

BUCKET = "datasets"
DATASETS = load_datasets(PROJECT / "datasets.yaml")
ODD = f"{PREFIX}2024-01-01/a+b %41 é.parquet"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ceph]:
    install_ceph()
    with ceph(tmp_path_factory.mktemp("ceph")) as found:
        yield found


@pytest.fixture(autouse=True)
def trusted(cluster: Ceph, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway's certificate, as an administrator would have it trusted."""
    monkeypatch.setenv("SSL_CERT_FILE", str(cluster.authority))


@dataclass(frozen=True)
class Lake:
    """A bucket whose topics point to a port."""

    settings: Settings
    client: Minio

    async def put(self, key: str, body: bytes = b"x") -> None:
        await asyncio.to_thread(self.client.put_object, BUCKET, key, BytesIO(body), len(body))

    def listed(self) -> dict[str, str]:
        walked = Bronze(self.settings).walk(BUCKET, "bronze/")
        return {listed.key: listed.etag for listed in walked}


def set_up(cluster: Ceph, port: int) -> Lake:
    """As `quicksilver init` does, and nothing left of an earlier test."""
    secure = cluster.settings(webhook_tokens=TOKEN, minio_endpoint_url=cluster.https_url)
    configure_topics(secure, DATASETS, lambda _: None, receiver_url=f"http://{LOOPBACK}:{port}")
    settings = cluster.settings(webhook_tokens=TOKEN)
    client = minio_client(settings)
    for found in list(client.list_objects(BUCKET, recursive=True)):
        client.remove_object(BUCKET, str(found.object_name))
    return Lake(settings, client)


@asynccontextmanager
async def told_in(ledger_url: str, cluster: Ceph) -> AsyncGenerator[tuple[Lake, Receiver, Sweep]]:
    """A lake that tells a receiver in this process."""
    port = choose_port(None)
    lake = await asyncio.to_thread(set_up, cluster, port)
    settings = lake.settings
    bronze = Bronze(settings)
    async with serving(
        ledger_url,
        port=port,
        bronze=bronze,
        store=settings.store,
        minio_endpoint_url=settings.minio_endpoint_url,
        minio_access_key=settings.minio_access_key,
        minio_secret_key=settings.minio_secret_key.get_secret_value(),
    ) as receiver:
        yield lake, receiver, Sweep(settings, receiver.app.state.ledger, bronze)


async def told(receiver: Receiver, key: str, *lanes: str) -> dict[str, object]:
    """A key's one event, once all `lanes` have brought it."""

    def found() -> dict[str, object] | None:
        events = [event for event in receiver.events() if event["key"] == key]
        assert len(events) <= 1, f"one PUT became {len(events)} events"
        return next((e for e in events if all(e[f"{lane}_at"] for lane in lanes)), None)

    return await asyncio.to_thread(until, found, f"{key} by {lanes}", within=120)


def serve(ledger_url: str, settings: Settings, port: int, points: Path) -> subprocess.Popen[bytes]:
    """The receiver as a process of its own, which has no sweep."""
    return subprocess.Popen(
        [sys.executable, "-m", "quicksilver.cli.main", "serve"],
        cwd=PROJECT,
        env={
            **os.environ,
            "QUICKSILVER_ROLES": "receiver",
            "QUICKSILVER_PORT": str(port),
            "QUICKSILVER_DATABASE_URL": ledger_url,
            "QUICKSILVER_DATASETS": str(PROJECT / "datasets.yaml"),
            "QUICKSILVER_WEBHOOK_TOKENS": TOKEN,
            "QUICKSILVER_STORE": settings.store,
            "MINIO_ENDPOINT_URL": settings.minio_endpoint_url,
            "MINIO_ACCESS_KEY": settings.minio_access_key,
            "MINIO_SECRET_KEY": settings.minio_secret_key.get_secret_value(),
            failpoint.VARIABLE: str(points),
        },
    )


def rows_of(url: str, statement: str) -> list[dict[str, Any]]:
    with psycopg.connect(url, row_factory=cast("Any", dict_row)) as connection:
        found = connection.execute(cast("Any", statement)).fetchall()
    return cast("list[dict[str, Any]]", found)


async def test_a_token_goes_over_https_alone(cluster: Ceph) -> None:
    with pytest.raises(QuicksilverError, match="only over HTTPS, and MINIO_ENDPOINT_URL is http:"):
        await asyncio.to_thread(
            configure_topics,
            cluster.settings(webhook_tokens=TOKEN),
            DATASETS,
            lambda _: None,
            receiver_url="http://127.0.0.1:1",
        )


async def test_both_lanes_tell_once_and_with_the_key_as_it_is(
    cluster: Ceph, ledger_url: str
) -> None:
    async with told_in(ledger_url, cluster) as (lake, receiver, sweep):
        await lake.put(ODD)
        event = await told(receiver, ODD, "fast", "durable")
        assert (event["reason"], event["etag"]) == ("settling", lake.listed()[ODD])

        whole = f"{PREFIX}2024-02-01/multipart.parquet"
        part = 5 * 1024 * 1024
        await asyncio.to_thread(
            lambda: lake.client.put_object(
                BUCKET, whole, BytesIO(b"x" * (part + 1)), part + 1, part_size=part
            )
        )
        event = await told(receiver, whole, "fast", "durable")
        assert event["event_name"] == "ObjectCreated:CompleteMultipartUpload"
        assert event["etag"] == lake.listed()[whole]
        assert sum(result.found for result in await sweep.run_once()) == 0


async def test_a_canary_measures_both_lanes(cluster: Ceph, ledger_url: str) -> None:
    async with told_in(ledger_url, cluster) as (lake, receiver, sweep):
        ledger = receiver.app.state.ledger
        seen = await send_canary(lake.client, ledger, BUCKET, patience=30)
        assert seen.fast is not None
        assert seen.durable is not None
        assert await CanaryWatch(lake.settings, ledger, sweep, patience=30).run_once() == 0
        (row,) = await ledger.watch.lane_states()
        assert (row["fast_state"], row["durable_state"]) == ("up", "up")
        assert sweep.interval == lake.settings.sweep_interval


@pytest.mark.parametrize(("killed", "year"), [("receiver", 2021), ("gateway", 2022), ("osd", 2023)])
async def test_killed_while_objects_land(
    cluster: Ceph, ledger_url: str, tmp_path: Path, killed: str, year: int
) -> None:
    # A year of its own: the persistent topic may still tell of what a test before this one did.
    keys = [f"{PREFIX}{year}-{month:02}-01/data.parquet" for month in range(1, 13)]
    port = choose_port(None)
    lake = await asyncio.to_thread(set_up, cluster, port)
    points = tmp_path / "points"
    points.mkdir()
    process = serve(ledger_url, lake.settings, port, points)
    url = f"http://{LOOPBACK}:{port}/healthz"
    try:
        await asyncio.to_thread(
            until,
            lambda: httpx.get(url, trust_env=False).is_success,
            "the receiver",
            within=400,
            despite=(httpx.HTTPError,),
        )
        for place, key in enumerate(keys):
            if place == 6 and killed == "receiver":
                # Dies with a commit whose sender gets no answer, and stays away for the rest.
                (points / "after-commit-before-2xx").touch()
            elif place == 6:
                cluster.kill(killed)
                if killed == "osd":
                    cluster.start("osd")
                else:
                    await asyncio.to_thread(cluster.start_gateway)
            await put_until_taken(lake.client, key, str(place).encode())
        if killed == "receiver":
            assert await asyncio.to_thread(process.wait, 180) == -signal.SIGKILL
            process = serve(ledger_url, lake.settings, port, points)
        listed = lake.listed()
        assert len(listed) == 12

        def known() -> bool:
            rows = rows_of(ledger_url, "select key, etag from quicksilver.object")
            return {row["key"]: row["etag"] for row in rows if row["key"] in keys} == listed

        # The persistent topic brings all, whoever was away: no sweep runs here.
        await asyncio.to_thread(until, known, "the durable lane brings the rest", within=180)
        rows = rows_of(
            ledger_url, "select dt, generation from quicksilver.partition order by partition"
        )
        generations = [row["generation"] for row in rows if row["dt"].year == year]
        assert generations == [1] * 12
        told = rows_of(ledger_url, "select key from quicksilver.event where event_name like '%Put'")
        found = [row["key"] for row in told if row["key"] in keys]
        # A writer that tried again while the OSD was away did write twice.
        assert len(found) == 12 if killed == "receiver" else len(found) >= 12
    finally:
        process.kill()
        process.wait(20)


async def put_until_taken(client: Minio, key: str, body: bytes) -> None:
    """As a writer does whose store was away for a moment."""

    def put() -> bool:
        try:
            client.put_object(BUCKET, key, BytesIO(body), len(body))
        except (MinioException, urllib3.exceptions.HTTPError, OSError):
            return False
        return True

    await asyncio.to_thread(until, put, f"{key} is taken", within=400, every=1)
