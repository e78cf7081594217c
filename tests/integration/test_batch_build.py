"""Several partitions at once: each as a build of its own leaves it, whatever the others do."""

import asyncio
from collections.abc import Sequence
from datetime import date
from typing import Any

import pyarrow as pa
import pytest
from dbt_common.clients.jinja import template_cache

from quicksilver.build import batch as batch_build
from quicksilver.build import dbt_project
from quicksilver.build.batch import build_batch
from quicksilver.build.prepare import ensure_warehouse
from quicksilver.build.result import BuildOutcome, BuildResult
from quicksilver.domain.datasets import Datasets
from quicksilver.domain.manifest import ManifestFile
from quicksilver.domain.partition import Partition
from quicksilver.errors import (
    BronzeFileError,
    FencedError,
    ManifestChangedError,
    ModelError,
    WarehouseUnavailableError,
)
from quicksilver.flows.nyc_tlc.generated import Flaws, generate_month
from quicksilver.ledger import BegunBuild
from quicksilver.warehouse.scratch import shared_suffix
from tests.support.partition_child import start
from tests.support.partition_stage import PartitionStage, make_stage
from tests.support.servers import MinioServer

MONTHS = [date(2019, month, 1) for month in range(1, 7)]
FLAWS = Flaws(negative_total=7, zero_length=5, outside_month=4, duplicate=6)
TABLES = [
    "bronze.yellow_tripdata",
    "silver.yellow_trips",
    "silver.yellow_trips_rejected",
    "gold.daily_revenue",
    "gold.zone_hours",
    "gold.daily_payments",
]


@pytest.fixture
def stage(warehouse_url: str, minio_server: MinioServer) -> PartitionStage:
    return make_stage(warehouse_url, minio_server)


def _month(dt: date, rows: int = 200, seed: int = 0) -> Any:
    return generate_month(dt.year, dt.month, rows, seed, flaws=FLAWS)


def _begun(
    stage: PartitionStage, dt: date, *manifest: ManifestFile, build_id: int = 0
) -> BegunBuild:
    partition = Partition.of_day(stage.dataset.name, dt)
    return BegunBuild(build_id or next(stage.ids), partition, 1, 1, manifest)


async def _build(stage: PartitionStage, builds: Sequence[BegunBuild]) -> dict[date, BuildOutcome]:
    ended: dict[date, BuildOutcome] = {}

    async def tell(build: BegunBuild, outcome: BuildOutcome) -> None:
        assert build.partition.dt not in ended, "told once"
        ended[build.partition.dt] = outcome

    await build_batch(stage.settings, stage.dataset, builds, tell)
    return ended


def _content(stage: PartitionStage) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table, in an order of its own."""
    return {
        table: stage.rows(f"select dt, t::text from {table} as t order by dt, t::text")
        for table in TABLES
    }


def _built(ended: dict[date, BuildOutcome]) -> list[date]:
    return sorted(dt for dt, outcome in ended.items() if isinstance(outcome, BuildResult))


async def test_the_same_as_one_by_one_new_and_old_partitions_among_each_other(
    stage: PartitionStage,
) -> None:
    old = MONTHS[2]
    await stage.build(old, stage.put(_month(old, rows=90, seed=5), old))
    # The same rows in two months: no duplicates of each other, as no build of one would see them.
    tables = {dt: _month(dt) for dt in MONTHS[:4]}
    tables[MONTHS[4]] = tables[MONTHS[3]].append_column("tip_jar", pa.array([1.5] * 200))
    listed = {dt: stage.put(table, dt) for dt, table in tables.items()}
    listed[MONTHS[5]] = stage.put(tables[MONTHS[0]].slice(0, 0), MONTHS[5])
    ended = await _build(stage, [_begun(stage, dt, file) for dt, file in listed.items()])
    assert _built(ended) == MONTHS
    first = ended[MONTHS[0]]
    assert isinstance(first, BuildResult)
    assert (first.rows_bronze, first.rows_silver, first.together) == (200, 178, 6)
    assert first.rejected_by_reason == {
        "dropoff_not_after_pickup": 5,
        "duplicate": 6,
        "negative_total": 7,
        "pickup_outside_month": 4,
    }
    with_column = ended[MONTHS[4]]
    assert isinstance(with_column, BuildResult)
    assert with_column.new_columns == ["tip_jar"]
    together = _content(stage)
    assert stage.scratch() == []
    assert stage.rows(
        "select count(*) from pg_class as c where c.relpersistence = 'u'"
        " and c.relnamespace in ('partitions'::regnamespace, 'quicksilver_build'::regnamespace)"
    ) == [(0,)], "nothing that a crash would empty"
    published = stage.rows("select dt, rows_bronze, rows_silver from quicksilver.publication")

    for dt, file in listed.items():
        await stage.build(dt, file)
    assert _content(stage) == together
    again = stage.rows(
        "select dt, rows_bronze, rows_silver from quicksilver.publication"
        " where build_id > (select min(build_id) + 6 from quicksilver.publication)"
    )
    assert sorted(again) == sorted(row for row in published if row[:2] != (old, 90))


async def test_what_cannot_be_read_drops_out_by_itself(stage: PartitionStage) -> None:
    listed = [stage.put(_month(dt), dt) for dt in MONTHS[:5]]
    listed[0] = stage.put(b"PAR1 but no parquet", MONTHS[0])
    damaged = bytearray(stage.lake.get_object(stage.dataset.bucket, listed[2].key).data)
    damaged[100:4000] = bytes(3900)
    listed[2] = stage.put(bytes(damaged), MONTHS[2])
    stage.put(_month(MONTHS[3], seed=1), MONTHS[3])
    builds = [_begun(stage, dt, file) for dt, file in zip(MONTHS, listed, strict=False)]
    # The last one has been given up meanwhile.
    await stage.settle(MONTHS[4], builds[4].id)

    ended = await _build(stage, builds)

    assert {dt: type(outcome) for dt, outcome in ended.items()} == {
        MONTHS[0]: BronzeFileError,
        MONTHS[1]: BuildResult,
        MONTHS[2]: BronzeFileError,
        MONTHS[3]: ManifestChangedError,
        MONTHS[4]: FencedError,
    }
    assert stage.rows("select distinct dt from silver.yellow_trips") == [(MONTHS[1],)]
    assert stage.scratch() == []


async def test_dbt_s_fault_with_one_is_no_other_s(stage: PartitionStage) -> None:
    rich = _month(MONTHS[1], rows=5000)
    at = rich.column_names.index("total_amount")
    # More than a day's sum can hold: the mart fails.
    rich = rich.set_column(at, "total_amount", pa.array([9_990_000_000.0] * 5000))
    listed = [
        stage.put(rich if dt == MONTHS[1] else _month(dt), dt, f"{dt}.parquet") for dt in MONTHS[:3]
    ]

    ended = await _build(
        stage, [_begun(stage, dt, file) for dt, file in zip(MONTHS, listed, strict=False)]
    )

    assert _built(ended) == [MONTHS[0], MONTHS[2]]
    error = ended[MONTHS[1]]
    assert isinstance(error, ModelError)
    assert "overflow" in str(error)
    assert stage.counts(MONTHS[0]) == stage.counts(MONTHS[2]) == (200, 178, 22)
    assert stage.counts(MONTHS[1]) == (0, 0, 0)
    assert stage.scratch() == []


async def test_a_retry_ends_and_removes_what_a_batch_has_left(
    stage: PartitionStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that hangs after dbt, seen as dead: its sessions and its tables go with the retry."""
    listed = [stage.put(_month(dt), dt) for dt in MONTHS[:2]]
    builds = [_begun(stage, dt, file) for dt, file in zip(MONTHS, listed, strict=False)]
    worker = builds[0].id
    alive: list[list[str]] = []

    async def hang(*_: object) -> dict[date, int]:
        # The retry, a build of one, does not hang.
        monkeypatch.undo()
        # An `init` meanwhile takes them for alive.
        declared = Datasets(datasets=(stage.dataset,), path=stage.settings.datasets_file)
        await ensure_warehouse(stage.settings, declared)
        alive.append(stage.scratch())
        await stage.build(MONTHS[1], listed[1])
        return {}

    monkeypatch.setattr(batch_build, "rows_of_silver", hang)
    with pytest.raises(WarehouseUnavailableError):
        await _build(stage, builds)
    (tables,) = alive
    assert f"yellow_trips__{shared_suffix(worker, '20190101')}" in tables
    assert [name for name in stage.scratch() if "landed" not in name] == []
    assert stage.counts(MONTHS[1]) == (200, 178, 22)
    assert stage.counts(MONTHS[0]) == (0, 0, 0)


async def test_the_engine_compiles_every_macro_of_a_build_beforehand(
    stage: PartitionStage,
) -> None:
    # The first build of a warehouse loads its seeds, too.
    await stage.build(MONTHS[0], stage.put(_month(MONTHS[0]), MONTHS[0]))
    template_cache.clear()
    await stage.build(MONTHS[1], stage.put(_month(MONTHS[1]), MONTHS[1]))
    used = set(template_cache.file_cache)
    assert len(used) > 30
    assert used <= {macro.macro_sql for macro in dbt_project.macros_of_builds()}


async def test_dbt_makes_identical_tables_with_and_without_its_shortcuts(
    stage: PartitionStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each in a process of its own: a patch stays in the process that it was put into."""
    files = {dt: stage.put(_month(dt), dt) for dt in MONTHS[:2]}

    async def build(build_id: int) -> dict[str, list[tuple[object, ...]]]:
        jobs = [(dt, build_id + at, [file]) for at, (dt, file) in enumerate(files.items())]
        child = start(stage.settings, stage.dataset, jobs, preload=False)
        code, said = await asyncio.to_thread(child.wait, 200)
        assert code == 0, said
        assert all("built" in line for line in said), said
        return _content(stage)

    monkeypatch.setenv("QUICKSILVER_DBT_SHORTCUTS", "0")
    plain = await build(1)
    monkeypatch.delenv("QUICKSILVER_DBT_SHORTCUTS")
    assert await build(11) == plain
    assert plain["silver.yellow_trips"]
