"""What the warehouse says it holds is what is there, not what a build once said."""

from datetime import date

import pytest

from quicksilver.domain.partition import Partition
from quicksilver.flows.nyc_tlc.generated import Flaws, generate_month
from quicksilver.warehouse.connection import Warehouse
from quicksilver.warehouse.holdings import Rows
from tests.support.partition_stage import PartitionStage, make_stage
from tests.support.servers import MinioServer

MONTHS = [date(2019, month, 1) for month in range(1, 4)]


@pytest.fixture
def stage(warehouse_url: str, minio_server: MinioServer) -> PartitionStage:
    return make_stage(warehouse_url, minio_server)


async def test_each_published_partition_and_whether_its_rows_are_there(
    stage: PartitionStage,
) -> None:
    warehouse = Warehouse(stage.settings)
    assert await warehouse.holdings(stage.dataset) == []
    for dt in MONTHS:
        table = generate_month(dt.year, dt.month, 60, 0, flaws=Flaws(negative_total=7))
        await stage.build(dt, stage.put(table, dt))
    # What was given up without being published is no holding.
    await stage.settle(date(2019, 9, 1), 99)

    held = await warehouse.holdings(stage.dataset, exact=True)
    assert [(h.partition, h.build_id, h.generation, h.missing) for h in held] == [
        (Partition.of_day(stage.dataset.name, dt), number, 1, ())
        for number, dt in enumerate(MONTHS, 1)
    ]
    assert {h.published for h in held} == {h.counted for h in held} == {Rows(60, 53, 7)}

    stage.run("truncate partitions.silver_yellow_trips_20190101")
    stage.run("drop table partitions.bronze_yellow_tripdata_20190201")
    stage.run("delete from silver.yellow_trips_rejected where dt = '2019-03-01'")
    held = await warehouse.holdings(stage.dataset)
    assert [h.missing for h in held] == [
        ("silver.yellow_trips",),
        ("bronze.yellow_tripdata",),
        (),
    ], "rows that somebody deleted one by one are seen by counting only"
    counted = await warehouse.holdings(stage.dataset, exact=True)
    assert [h.is_whole for h in counted] == [False, False, False]
    assert counted[2].counted == Rows(60, 53, 0)

    # A version that kept no list of tables: bronze alone is known.
    stage.run("delete from quicksilver.table_partition")
    assert [h.missing for h in await warehouse.holdings(stage.dataset)] == [
        (),
        ("bronze.yellow_tripdata",),
        (),
    ]
