"""A model downstream of two bronze tables is right whichever of them lands, also both at once."""

from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from quicksilver.build import batch
from quicksilver.build.inputs import shared_model_problems
from quicksilver.build.prepare import ensure_warehouse
from quicksilver.domain.datasets import Datasets
from quicksilver.errors import ModelError
from tests.support.own_project import own_project
from tests.support.partition_stage import PartitionStage, make_stage
from tests.support.servers import MinioServer

MAY = date(2024, 5, 1)
_DECLARED = """
datasets:
  shop.orders:
    bucket: lake
    key: orders/dt={dt}/{file}
    deployment: silver-build/nyc-tlc
    bronze_table: bronze.orders
    columns: {id: {kind: integer, required: true}}
  shop.prices:
    bucket: lake
    key: prices/dt=DATE/{file}
    deployment: silver-build/nyc-tlc
    bronze_table: bronze.prices
    columns: {id: {kind: integer, required: true}, price: {kind: integer}}
"""
_MODELS: Mapping[str, str] = {
    "staging/sources.yml": """
sources:
  - name: bronze
    tables: [{name: orders}, {name: prices}]
""",
    "staging/stg_prices.sql": "select dt, id, price from {{ source('bronze', 'prices') }}",
    "silver/priced.sql": """
select orders.dt, orders.id, prices.price
from {{ source('bronze', 'orders') }} as orders
inner join {{ ref('stg_prices') }} as prices on orders.dt = prices.dt and orders.id = prices.id
""",
    "silver/priced.yml": """
models:
  - name: priced
    columns:
      - {name: dt, data_type: date}
      - {name: id, data_type: bigint}
      - {name: price, data_type: bigint}
""",
}


@pytest.fixture
def declared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Datasets]:
    with own_project(tmp_path, monkeypatch, _DECLARED.replace("DATE", "{dt}"), _MODELS) as datasets:
        yield datasets


@pytest.fixture
def stage(warehouse_url: str, minio_server: MinioServer) -> PartitionStage:
    return make_stage(warehouse_url, minio_server)


def _orders(*ids: int) -> Any:
    return pa.table({"id": pa.array(ids, pa.int64())})


def _prices(**prices: int) -> Any:
    ids = [int(name.removeprefix("of_")) for name in prices]
    return pa.table({"id": ids, "price": list(prices.values())})


async def _build(stage: PartitionStage, datasets: Datasets, name: str, table: Any) -> None:
    bucket = stage.dataset.bucket
    stage.dataset = datasets.get(name).model_copy(update={"bucket": bucket})
    await stage.build(MAY, stage.put(table, MAY))


async def test_what_both_datasets_feed_has_the_newest_of_both(
    declared: Datasets, stage: PartitionStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ensure_warehouse(stage.settings, declared)
    query = "select id, price from silver.priced order by id"
    await _build(stage, declared, "shop.orders", _orders(1, 2, 3))
    assert stage.rows(query) == []
    await _build(stage, declared, "shop.prices", _prices(of_1=10, of_2=20))
    assert stage.rows(query) == [(1, 10), (2, 20)]

    refuse = batch.refuse_failures
    runs: list[str] = []

    async def and_the_other_lands(*everything: Any) -> None:
        """After the orders' models have read the prices, and before they are published."""
        await refuse(*everything)
        runs.append(stage.dataset.name)
        if len(runs) == 1:
            await _build(stage, declared, "shop.prices", _prices(of_1=11, of_3=30))

    monkeypatch.setattr(batch, "refuse_failures", and_the_other_lands)
    await _build(stage, declared, "shop.orders", _orders(1, 3, 4))

    assert stage.rows(query) == [(1, 11), (3, 30)]
    assert len(runs) == 3, "the orders once more, because the prices moved"
    assert stage.rows("select count(*) from quicksilver.table_partition where has_rows") == [(3,)]
    assert stage.scratch() == []


async def test_partitions_that_cannot_meet_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: PartitionStage
) -> None:
    monthly = _DECLARED.replace("dt=DATE", "month={dt:%Y-%m}")
    with own_project(tmp_path, monkeypatch, monthly, _MODELS) as datasets:
        (problem,) = shared_model_problems(datasets)
        assert "model priced reads the bronze tables of shop.orders and shop.prices" in problem
        with pytest.raises(ModelError, match="not cut into the same partitions"):
            await ensure_warehouse(stage.settings, datasets)
