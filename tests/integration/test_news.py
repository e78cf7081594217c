"""What the service tells others: announcements, gates and freshness, on a real ledger."""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from quicksilver.domain.datasets import load_datasets
from quicksilver.domain.event import ObjectEvent
from quicksilver.domain.manifest import ListedObject
from quicksilver.domain.states import BuildState
from quicksilver.errors import PrefectUnavailableError
from quicksilver.ledger import Ledger, SealedBuild
from quicksilver.roles.announcer import Announcer
from quicksilver.roles.freshness import FreshnessWatch
from quicksilver.roles.gatekeeper import Gatekeeper
from quicksilver.settings import load_settings
from quicksilver.support import clock
from quicksilver.support.postgres import Database
from tests.support.declared import arrive

DATASETS = """
datasets:
  shop.orders:
    bucket: lake
    key: shop/orders/dt={dt}/{file}
    deployment: silver-build/nyc-tlc
    fresh_within: 2d
    overdue: 1h
  shop.returns:
    bucket: lake
    key: shop/returns/dt={dt}/{file}
    deployment: silver-build/nyc-tlc
gates:
  joined:
    datasets: [shop.orders, shop.returns]
    each: dt
    deployment: joined/x
"""


class FakePrefect:
    """Takes events and runs; may be away."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.runs: dict[str, UUID] = {}
        self.calls = 0
        self.is_away = False

    async def emit(self, events: Sequence[dict[str, Any]]) -> None:
        self._answer()
        self.events += events

    async def create_run(self, _name: str, *, key: str, **_: Any) -> UUID:
        self._answer()
        self.calls += 1
        return self.runs.setdefault(key, uuid4())

    def _answer(self) -> None:
        if self.is_away:
            raise PrefectUnavailableError("away")


@pytest.fixture
async def ledger(ledger_url: str, tmp_path: Path) -> AsyncIterator[Ledger]:
    path = tmp_path / "datasets.yaml"
    path.write_text(DATASETS)
    database = Database(ledger_url, size=4)
    await database.open()
    ledger = Ledger(database, load_datasets(path))
    await ledger.upkeep.sync_datasets()
    yield ledger
    await database.close()
    clock.reset()


async def land(ledger: Ledger, dataset: str, dt: str, etag: str) -> None:
    """An event of a new object version."""
    event = ObjectEvent(
        name="ObjectCreated:Put",
        bucket="lake",
        key=f"{dataset.replace('.', '/')}/dt={dt}/data.parquet",
        etag=etag,
        version_id=None,
        size=1,
        sequencer=etag,
        event_at=clock.now(),
    )
    arrival = arrive(event, ledger.datasets, "fast", "127.0.0.1", clock.now())
    assert await ledger.recording.record([arrival]) == ["settling"]


async def build(ledger: Ledger, etag: str) -> None:
    """Bring what is due to `built`, as the dispatcher and a flow would."""
    for claim in await ledger.claims.claim("me", slots=9, lease=timedelta(seconds=30)):
        dataset = ledger.datasets.get(claim.partition.dataset)
        key = dataset.key.format(dt=claim.partition.dt.isoformat(), file="data.parquet")
        listing = [ListedObject(key, etag, 1, clock.now())]
        sealed = await ledger.sealing.seal(claim, "me", listing, claim.generation)
        assert isinstance(sealed, SealedBuild)
        run = uuid4()
        assert await ledger.claims.mark_dispatched(
            [sealed], "me", run, start_within=timedelta(minutes=1)
        )
        (begun,) = await ledger.runs.begin(
            sealed.idempotency_key, run, time_limit=timedelta(minutes=1)
        )
        assert await ledger.runs.publish(
            begun.id, rows_bronze=1, rows_silver=1, rows_rejected=0, loaded_at=None, details={}
        )
    for active in await ledger.settlement.active_builds():
        assert await ledger.settlement.finish(active, BuildState.SUCCEEDED)


async def test_landed_and_built_are_told_once_and_survive_an_outage(ledger: Ledger) -> None:
    prefect = FakePrefect()
    announcer = Announcer(load_settings(), ledger, prefect)  # pyright: ignore[reportArgumentType]
    await land(ledger, "shop.orders", "2024-05-01", "a")
    await build(ledger, "a")
    prefect.is_away = True
    with pytest.raises(PrefectUnavailableError):
        await announcer.run_once()
    prefect.is_away = False
    assert await announcer.run_once() == 2
    assert await announcer.run_once() == 0
    names = [event["event"] for event in prefect.events]
    assert names == ["quicksilver.partition.landed", "quicksilver.partition.built"]
    built = prefect.events[1]
    assert built["resource"]["prefect.resource.id"] == (
        "quicksilver.partition.shop.orders.2024-05-01"
    )
    assert built["payload"]["link"].endswith("/partitions/shop.orders/2024-05-01")


async def test_a_quarantined_body_is_told_of_once(ledger: Ledger) -> None:
    prefect = FakePrefect()
    announcer = Announcer(load_settings(), ledger, prefect)  # pyright: ignore[reportArgumentType]
    for _ in range(3):
        await ledger.quarantine.add(
            b"?", reason="not-json", lane="fast", source="x", max_rows=9, max_bytes=999
        )
    assert await announcer.run_once() == 1
    assert prefect.events[0]["event"] == "quicksilver.event.quarantined"
    assert prefect.events[0]["payload"]["reason"] == "not-json"


async def test_a_gate_fires_once_a_set_and_generation(ledger: Ledger) -> None:
    prefect = FakePrefect()
    keeper = Gatekeeper(ledger, prefect)  # pyright: ignore[reportArgumentType]
    await land(ledger, "shop.orders", "2024-05-01", "a")
    await build(ledger, "a")
    assert await keeper.run_once() == 0
    await land(ledger, "shop.returns", "2024-05-01", "a")
    assert await keeper.run_once() == 0
    await build(ledger, "a")
    assert await keeper.run_once() == 1
    assert await keeper.run_once() == 0
    await land(ledger, "shop.orders", "2024-05-01", "b")
    assert await keeper.run_once() == 0
    await build(ledger, "b")
    prefect.is_away = True
    with pytest.raises(PrefectUnavailableError):
        await keeper.run_once()
    prefect.is_away = False
    assert await keeper.run_once() == 1
    # Behind the @ stands the ledger's own id.
    keys = sorted(key.partition("@")[0] for key in prefect.runs)
    assert keys == ["gate/joined/2024-05-01:2", "gate/joined/2024-05-01:3"]


async def test_overdue_and_stale_are_raised_once_and_cleared(ledger: Ledger) -> None:
    watch = FreshnessWatch(ledger)
    await land(ledger, "shop.orders", "2024-05-01", "a")
    assert await watch.run_once() == 0
    clock.advance(timedelta(hours=2))
    assert await watch.run_once() == 1
    assert await watch.run_once() == 1
    (alert,) = await ledger.notices.alerts()
    assert alert["kind"] == "overdue"
    assert "shop.orders/2024-05-01" in alert["text"]
    await build(ledger, "a")
    assert await watch.run_once() == 0
    assert await ledger.notices.alerts() == []
    clock.advance(timedelta(days=3))
    assert await watch.run_once() == 1
    assert [a["kind"] for a in await ledger.notices.alerts()] == ["stale"]
