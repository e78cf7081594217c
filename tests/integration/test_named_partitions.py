"""Hours and dimensions are partitions of the warehouse too, each replaced by its name."""

import shutil
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quicksilver.build.batch import build_batch
from quicksilver.build.prepare import ensure_warehouse
from quicksilver.build.result import BuildOutcome, BuildResult
from quicksilver.domain.datasets import Datasets
from quicksilver.domain.manifest import ManifestFile
from quicksilver.domain.partition import Partition
from quicksilver.ledger import BegunBuild
from quicksilver.warehouse.connection import Warehouse
from tests.support.own_project import own_project
from tests.support.partition_stage import PartitionStage, make_stage
from tests.support.servers import MinioServer

_DECLARED = """
datasets:
  web.clicks:
    bucket: lake
    key: clicks/dt={dt}/hour={hour}/{file}
    deployment: silver-build/nyc-tlc
    bronze_table: bronze.clicks
    columns: {id: {kind: integer, required: true}}
  shop.sales:
    bucket: lake
    key: sales/region={region}/dt={dt}/{file}
    deployment: silver-build/nyc-tlc
    bronze_table: bronze.sales
    columns: {id: {kind: integer, required: true}}
"""
_MODELS: Mapping[str, str] = {
    "staging/sources.yml": """
sources:
  - name: bronze
    tables: [{name: clicks}, {name: sales}]
""",
    # Neither carries the partition's name: a build of one fills it in.
    "silver/clicks.sql": "select id, dt from {{ source('bronze', 'clicks') }} where id > 0",
    "silver/clicks_rejected.sql": (
        "select id, 'negative' as reason from {{ source('bronze', 'clicks') }} where id <= 0"
    ),
    # Carries it, so that one run of dbt makes several partitions.
    "silver/sales.sql": "select partition_name, dt, id from {{ source('bronze', 'sales') }}",
    "silver/models.yml": """
models:
  - name: clicks
    columns: [{name: id, data_type: bigint}, {name: dt, data_type: date}]
  - name: clicks_rejected
    columns: [{name: id, data_type: bigint}, {name: reason, data_type: text}]
  - name: sales
    columns:
      - {name: partition_name, data_type: text}
      - {name: dt, data_type: date}
      - {name: id, data_type: bigint}
""",
}


@pytest.fixture
def declared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Datasets]:
    with own_project(tmp_path, monkeypatch, _DECLARED, _MODELS) as datasets:
        yield datasets


@pytest.fixture
def stage(warehouse_url: str, minio_server: MinioServer) -> PartitionStage:
    return make_stage(warehouse_url, minio_server)


def _put(stage: PartitionStage, key: str, *ids: int) -> ManifestFile:
    sink = BytesIO()
    pq.write_table(pa.table({"id": pa.array(ids, pa.int64())}), sink)
    body = sink.getvalue()
    done = stage.lake.put_object(stage.dataset.bucket, key, BytesIO(body), len(body))
    assert done.etag is not None
    return ManifestFile(key, done.etag.strip('"'), done.version_id, len(body))


async def _build(
    stage: PartitionStage, datasets: Datasets, dataset: str, **files: ManifestFile
) -> list[BuildResult]:
    bucket = stage.dataset.bucket
    own = datasets.get(dataset).model_copy(update={"bucket": bucket})
    builds = [
        BegunBuild(next(stage.ids), Partition(dataset, name), 1, 1, (file,))
        for name, file in files.items()
    ]
    ended: list[BuildOutcome] = []

    async def tell(_: BegunBuild, outcome: BuildOutcome) -> None:
        ended.append(outcome)

    await build_batch(stage.settings, own, builds, tell)
    built = [outcome for outcome in ended if isinstance(outcome, BuildResult)]
    assert len(built) == len(ended), ended
    return built


async def test_hours(declared: Datasets, stage: PartitionStage) -> None:
    await ensure_warehouse(stage.settings, declared)
    hours = {
        f"2024-05-01T{hour:02}": _put(
            stage, f"clicks/dt=2024-05-01/hour={hour:02}/a.parquet", hour, -1
        )
        for hour in (13, 14)
    }
    built = await _build(stage, declared, "web.clicks", **hours)
    assert [(b.rows_bronze, b.rows_silver, b.rows_rejected, b.together) for b in built] == [
        (2, 1, 1, 1)
    ] * 2, "models that do not keep hours apart are built one by one"
    again = _put(stage, "clicks/dt=2024-05-01/hour=14/a.parquet", 140, 141)
    await _build(stage, declared, "web.clicks", **{"2024-05-01T14": again})

    assert stage.rows("select partition_name, dt::text, id from bronze.clicks order by 1, 3") == [
        ("2024-05-01T13", "2024-05-01", -1),
        ("2024-05-01T13", "2024-05-01", 13),
        ("2024-05-01T14", "2024-05-01", 140),
        ("2024-05-01T14", "2024-05-01", 141),
    ]
    assert stage.rows("select partition_name, dt::text, id from silver.clicks order by 1, 3") == [
        ("2024-05-01T13", "2024-05-01", 13),
        ("2024-05-01T14", "2024-05-01", 140),
        ("2024-05-01T14", "2024-05-01", 141),
    ]
    assert stage.rows("select partition_name, id from silver.clicks_rejected") == [
        ("2024-05-01T13", -1)
    ]
    assert stage.rows("select partition, dt::text from quicksilver.fence order by 1") == [
        ("2024-05-01T13", "2024-05-01"),
        ("2024-05-01T14", "2024-05-01"),
    ]
    held = await Warehouse(stage.settings).holdings(declared.get("web.clicks"), exact=True)
    assert [(h.partition.name, h.is_whole) for h in held] == [
        ("2024-05-01T13", True),
        ("2024-05-01T14", True),
    ]
    assert await stage.settle_named(Partition("web.clicks", "2024-05-01T13"), 1)
    assert stage.scratch() == []


async def test_regions_of_a_day(declared: Datasets, stage: PartitionStage) -> None:
    regions: dict[str, Any] = {
        f"2024-05-01/region={region}": _put(
            stage, f"sales/region={region}/dt=2024-05-01/a.parquet", number
        )
        for number, region in enumerate(("eu", "us", "naïve'quote"))
    }
    built = await _build(stage, declared, "shop.sales", **regions)
    assert [b.together for b in built] == [3, 3, 3]
    mended = _put(stage, "sales/region=us/dt=2024-05-01/a.parquet", 7, 8)
    await _build(stage, declared, "shop.sales", **{"2024-05-01/region=us": mended})

    expected = [
        ("2024-05-01/region=eu", 0),
        ("2024-05-01/region=naïve'quote", 2),
        ("2024-05-01/region=us", 7),
        ("2024-05-01/region=us", 8),
    ]
    for table in ("bronze.sales", "silver.sales"):
        query = f'select partition_name, id from {table} order by partition_name collate "C", id'
        assert stage.rows(query) == expected
    assert stage.scratch() == []


async def test_a_project_elsewhere_takes_the_macros_as_a_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: PartitionStage
) -> None:
    with own_project(tmp_path, monkeypatch, _DECLARED, _MODELS) as declared:
        analytics = tmp_path / "analytics"
        (analytics / "dbt_packages").mkdir()
        # As `dbt deps` leaves a local package: a link.
        package = analytics / "dbt_packages" / "quicksilver_publishing"
        (analytics / "package").rename(tmp_path / "package")
        package.symlink_to(tmp_path / "package")
        (analytics / "packages.yml").write_text("packages: [{local: ../package}]\n")
        readme = (tmp_path / "package" / "README.md").read_text(encoding="utf-8")
        handed_on = readme.split("```sql\n")[1].split("```")[0]
        shutil.rmtree(analytics / "macros")
        (analytics / "macros").mkdir()
        (analytics / "macros" / "quicksilver.sql").write_text(handed_on)
        (analytics / "dbt_project.yml").write_text(
            "name: shop\nversion: 1.0.0\nprofile: quicksilver\n"
            "models: {shop: {staging: {+materialized: ephemeral},"
            " silver: {+materialized: partition, +schema: silver, +contract: {enforced: true}}}}\n"
        )
        await ensure_warehouse(stage.settings, declared)
        listed = _put(stage, "clicks/dt=2024-05-01/hour=13/a.parquet", 5, -5)
        await _build(stage, declared, "web.clicks", **{"2024-05-01T13": listed})
        assert stage.rows("select partition_name, id from silver.clicks") == [("2024-05-01T13", 5)]
