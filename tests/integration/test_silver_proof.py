"""Silver is proved, not assumed: backups restored on either side, and a table that was emptied.

On the real warehouse, ledger and lake; only Prefect is a stand-in, which has nothing to say here.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from quicksilver.build.batch import build_batch
from quicksilver.build.result import BuildOutcome, BuildResult
from quicksilver.domain.datasets import Datasets
from quicksilver.domain.partition import Partition
from quicksilver.flows.context import FlowContext
from quicksilver.flows.leases import mark_published
from quicksilver.flows.nyc_tlc.generated import generate_month
from quicksilver.lake.bronze import Bronze
from quicksilver.ledger import BegunBuild, Ledger
from quicksilver.roles.alignment import Alignment
from quicksilver.roles.dispatcher import Dispatcher
from quicksilver.roles.settler import Settler
from quicksilver.roles.silver_proof import SilverProof
from quicksilver.roles.sweep import Sweep
from quicksilver.support.postgres import Database
from quicksilver.warehouse.connection import Warehouse
from tests.support.ledger_harness import FakePrefect
from tests.support.partition_stage import YELLOW, PartitionStage, make_stage
from tests.support.servers import MinioServer, Postgres

JANUARY, FEBRUARY = date(2019, 1, 1), date(2019, 2, 1)
HERE, THERE = Partition.of_day(YELLOW, JANUARY), Partition.of_day(YELLOW, FEBRUARY)


@dataclass
class Site:
    """A lake, a ledger and a warehouse, and what keeps them together."""

    stage: PartitionStage
    ledger_url: str
    postgres: Postgres
    prefect: FakePrefect = field(default_factory=FakePrefect)
    copies: list[str] = field(default_factory=list[str])

    def put(self, dt: date, rows: int) -> None:
        """Overwrite a month."""
        self.stage.put(generate_month(dt.year, dt.month, rows), dt)

    @asynccontextmanager
    async def ledger(self) -> AsyncGenerator[Ledger]:
        """The ledger, as a service that starts opens it."""
        database = Database(self.ledger_url)
        await database.open()
        datasets = Datasets(datasets=(self.stage.dataset,), path=Path("datasets.yaml"))
        ledger = Ledger(database, datasets)
        await ledger.upkeep.sync_datasets()
        await Alignment(ledger, self.warehouse).run_once()
        try:
            yield ledger
        finally:
            await database.close()

    @property
    def warehouse(self) -> Warehouse:
        """The warehouse, as a service that starts opens it."""
        return Warehouse(self.stage.settings)

    async def build(self) -> list[Partition]:
        """Build what the lake has and silver has not; those that were built."""
        settings, bronze = self.stage.settings, Bronze(self.stage.settings)
        built: list[Partition] = []
        async with self.ledger() as ledger:
            await Sweep(settings, ledger, bronze).run_once()
            await Dispatcher(settings, ledger, bronze, self.prefect, "one").run_once()

            async def tell(build: BegunBuild, outcome: BuildOutcome) -> None:
                assert isinstance(outcome, BuildResult), outcome
                await mark_published(FlowContext(settings, ledger, bronze), build, outcome)
                built.append(build.partition)

            for key, run in self.prefect.keys.items():
                if run in self.prefect.alive():
                    begun = await ledger.runs.begin(
                        key, run, time_limit=self.stage.dataset.time_limit
                    )
                    await build_batch(settings, self.stage.dataset, begun, tell)
                    self.prefect.set_state(run, "COMPLETED")
            await Settler(settings, ledger, self.prefect, self.warehouse).run_once()
        return sorted(built)

    async def prove(self) -> dict[Partition, str]:
        """What silver does not hold as the ledger says; an alert names it, or there is none."""
        async with self.ledger() as ledger:
            found = await SilverProof(ledger, self.warehouse).run_once()
            alerts = await ledger.notices.alerts()
        assert [(alert["kind"], alert["subject"]) for alert in alerts] == (
            [("silver", YELLOW)] if found else []
        )
        for partition, why in found.items():
            assert f"{partition.name}: {why}" in alerts[0]["text"]
        return found

    def backup(self, url: str, owner: str) -> str:
        """A copy of a database as it is now; its URL."""
        name = str(conninfo_to_dict(url)["dbname"])
        with psycopg.connect(self.postgres.admin_url, autocommit=True) as admin:
            # dbt keeps its connection for the next build of this process.
            admin.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (name,)
            )
        self.copies.append(f"{name}_backup_{len(self.copies)}")
        return self.postgres.create_database(self.copies[-1], owner, name)

    def restore_warehouse(self, url: str) -> None:
        """Go on with another warehouse."""
        self.stage.settings = self.stage.settings.model_copy(
            update={"warehouse_url": type(self.stage.settings.warehouse_url)(url)}
        )

    async def mended(self, *partitions: Partition, rows: int) -> bool:
        """What differed is built anew, nothing else is, and then all is as the ledger says."""
        assert await self.build() == list(partitions)
        assert await self.prove() == {}
        return self.stage.counts(JANUARY)[0] == rows


@pytest.fixture
async def site(
    stack_postgres: Postgres, warehouse_url: str, ledger_url: str, minio_server: MinioServer
) -> AsyncIterator[Site]:
    """Two months that are built."""
    site = Site(make_stage(warehouse_url, minio_server), ledger_url, stack_postgres)
    site.put(JANUARY, 60)
    site.put(FEBRUARY, 60)
    assert await site.build() == [HERE, THERE]
    assert await site.prove() == {}
    yield site
    for name in site.copies:
        stack_postgres.drop_database(name)


async def test_tables_that_somebody_emptied(site: Site) -> None:
    site.stage.run("truncate partitions.silver_yellow_trips_20190101")
    assert await site.prove() == {HERE: "silver.yellow_trips is empty"}
    assert await site.mended(HERE, rows=60)
    assert site.stage.rows("select count(*) > 0 from silver.yellow_trips where dt = %s", JANUARY)
    site.stage.run("drop table partitions.bronze_yellow_tripdata_20190101")
    assert await site.prove() == {HERE: "bronze.yellow_tripdata is empty"}
    assert await site.mended(HERE, rows=60)


async def test_a_warehouse_from_an_older_backup(site: Site) -> None:
    backup = site.backup(site.stage.url, "warehouse")
    site.put(JANUARY, 50)
    assert await site.build() == [HERE]
    site.restore_warehouse(backup)
    assert site.stage.counts(JANUARY)[0] == 60
    assert await site.prove() == {HERE: "the warehouse holds build 1, the ledger says 3"}
    assert await site.mended(HERE, rows=50)


async def test_a_warehouse_made_anew(site: Site) -> None:
    site.copies.append("warehouse_made_anew")
    site.restore_warehouse(site.postgres.create_database(site.copies[-1], "warehouse"))
    assert await site.prove() == dict.fromkeys((HERE, THERE), "the warehouse knows nothing of it")
    assert await site.mended(HERE, THERE, rows=60)


async def test_a_ledger_from_an_older_backup(site: Site) -> None:
    backup = site.backup(site.ledger_url, "ledger")
    # What the ledger will have forgotten: a month overwritten, and put back as it was before.
    for rows in (50, 60):
        site.put(JANUARY, rows)
        assert await site.build() == [HERE]
    site.stage.run("truncate partitions.silver_yellow_trips_20190101")
    site.ledger_url = backup
    assert await site.prove() == {
        HERE: "the warehouse holds build 4, which the ledger does not know"
    }
    assert await site.mended(HERE, rows=60)
    assert site.stage.rows("select count(*) > 0 from silver.yellow_trips where dt = %s", JANUARY)


async def test_what_is_dirty_anyway_is_left_to_its_build(site: Site) -> None:
    site.copies.append("warehouse_made_anew")
    site.restore_warehouse(site.postgres.create_database(site.copies[-1], "warehouse"))
    site.put(JANUARY, 50)
    async with site.ledger() as ledger:
        await Sweep(site.stage.settings, ledger, Bronze(site.stage.settings)).run_once()
    assert list(await site.prove()) == [THERE]
