"""Bronze, warehouse and builds of one test: a bucket and a database of its own."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
from minio import Minio

from quicksilver.build.partition import build_partition
from quicksilver.build.result import BuildResult
from quicksilver.domain.datasets import Dataset, load_datasets
from quicksilver.domain.manifest import ManifestFile
from quicksilver.domain.partition import Partition
from quicksilver.lake.bronze import minio_client
from quicksilver.settings import Settings, load_settings
from quicksilver.warehouse.connection import Warehouse
from tests.support.checkout import PROJECT
from tests.support.declared import folder
from tests.support.servers import MinioServer

YELLOW = "nyc_tlc.yellow_tripdata"
_buckets = itertools.count(1)


@dataclass
class PartitionStage:
    """What a test builds with; build ids rise by themselves."""

    settings: Settings
    dataset: Dataset
    lake: Minio
    ids: Iterator[int]

    def put(self, content: Any, dt: date, file: str = "data.parquet") -> ManifestFile:
        """Upload a table, or raw bytes, into a partition's folder."""
        if not isinstance(content, bytes):
            sink = io.BytesIO()
            pq.write_table(content, sink)
            content = sink.getvalue()
        key = folder(self.dataset, dt) + file
        done = self.lake.put_object(self.dataset.bucket, key, io.BytesIO(content), len(content))
        assert done.etag is not None
        return ManifestFile(key, done.etag.strip('"'), done.version_id, len(content))

    async def build(
        self, dt: date | str, *manifest: ManifestFile, build_id: int | None = None
    ) -> BuildResult:
        """Build a partition in this process."""
        return await build_partition(
            self.settings,
            self.dataset,
            dt if isinstance(dt, str) else dt.isoformat(),
            build_id=build_id or next(self.ids),
            generation=1,
            manifest=manifest,
        )

    async def settle(self, dt: date, build_id: int) -> dict[str, Any] | None:
        """The settler's question."""
        return await self.settle_named(Partition.of_day(self.dataset.name, dt), build_id)

    async def settle_named(self, partition: Partition, build_id: int) -> dict[str, Any] | None:
        """The settler's question about any partition."""
        return await Warehouse(self.settings).revoke(partition, build_id)

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """What a reader of the warehouse sees."""
        with psycopg.connect(self.url) as reader:
            return reader.execute(query.encode(), parameters).fetchall()

    def run(self, query: str) -> None:
        """Run a statement as another client."""
        with psycopg.connect(self.url, autocommit=True) as writer:
            writer.execute(query.encode())

    @property
    def url(self) -> str:
        """The warehouse."""
        return self.settings.warehouse_url.get_secret_value()

    def counts(self, dt: date) -> tuple[int, int, int]:
        """Rows of a partition in bronze, silver, rejected."""
        found = self.rows(
            "select (select count(*) from bronze.yellow_tripdata where dt = %s),"
            " (select count(*) from silver.yellow_trips where dt = %s),"
            " (select count(*) from silver.yellow_trips_rejected where dt = %s)",
            dt,
            dt,
            dt,
        )[0]
        return found[0], found[1], found[2]

    def scratch(self) -> list[str]:
        """Tables that builds left behind."""
        found = self.rows(
            "select tablename from pg_tables where schemaname = %s", self.settings.scratch_schema
        )
        return [row[0] for row in found]


def make_stage(warehouse_url: str, server: MinioServer) -> PartitionStage:
    """A stage on a fresh bucket."""
    settings = load_settings(
        warehouse_url=warehouse_url,
        minio_endpoint_url=server.endpoint_url,
        minio_access_key=server.access_key,
        minio_secret_key=server.secret_key,
    )
    bucket = f"partitions-{next(_buckets)}"
    declared = load_datasets(PROJECT / "datasets.yaml").get(YELLOW)
    dataset = declared.model_copy(update={"bucket": bucket})
    lake = minio_client(settings)
    lake.make_bucket(bucket)
    return PartitionStage(settings, dataset, lake, itertools.count(1))


def renamed(table: Any, **names: str) -> Any:
    """A table with some columns called otherwise."""
    return table.rename_columns([names.get(name, name) for name in table.column_names])


def retyped(table: Any, **types: Any) -> Any:
    """A table with some columns of another type."""
    for name, kind in types.items():
        at = table.column_names.index(name)
        table = table.set_column(at, pa.field(name, kind), table[name].cast(kind))
    return table


def tlc_months(source: str | None) -> list[Path]:
    """TLC's own files, where the environment names a folder of them."""
    if not source or source.startswith("http"):
        return []
    return sorted(Path(source).glob("yellow_tripdata_*.parquet"))
