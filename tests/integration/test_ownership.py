"""What was in a warehouse before stays as it was, whoever prepares, builds or cleans up."""

from datetime import date
from typing import Any

import pytest

from quicksilver.build.prepare import ensure_warehouse
from quicksilver.domain.datasets import Datasets
from quicksilver.errors import NotOursError
from quicksilver.flows.nyc_tlc.generated import generate_month
from quicksilver.settings import load_settings
from tests.support.partition_stage import PartitionStage, make_stage
from tests.support.servers import MinioServer

JANUARY = date(2019, 1, 1)
_SCHEMAS = (
    "select nspname from pg_namespace where nspname !~ '^pg_|^information_schema$' order by 1"
)


@pytest.fixture
def stage(warehouse_url: str, minio_server: MinioServer) -> PartitionStage:
    return make_stage(warehouse_url, minio_server)


def _declared(stage: PartitionStage) -> Datasets:
    return Datasets(datasets=(stage.dataset,), path=stage.settings.datasets_file)


def _everything(stage: PartitionStage, *relations: str) -> list[Any]:
    """Columns, comments, owner and rows of each relation."""
    return [
        (
            stage.rows(
                "select a.attname, format_type(a.atttypid, a.atttypmod), c.relkind,"
                " obj_description(c.oid), c.relowner, c.relpersistence"
                " from pg_attribute as a inner join pg_class as c on a.attrelid = c.oid"
                " where c.oid = %s::regclass and a.attnum > 0 order by a.attnum",
                relation,
            ),
            stage.rows(f"select t::text from {relation} as t order by 1"),
        )
        for relation in relations
    ]


async def test_schemas_and_tables_of_others_stay_as_they_were(stage: PartitionStage) -> None:
    stage.run(
        "create schema build; create table build.releases as"
        " select n as id, 'release ' || n as name from generate_series(1, 1000) as n;"
        " create table build.yellow_trips__7 (id int); comment on schema build is 'theirs';"
        " create schema bronze; create table bronze.orders (id int); insert into bronze.orders"
        " values (1); create schema silver; create view silver.names as"
        " select name from build.releases; create schema gold; create table gold.taxi (id int)"
    )
    theirs = (
        "build.releases",
        "build.yellow_trips__7",
        "bronze.orders",
        "silver.names",
        "gold.taxi",
    )
    before = _everything(stage, *theirs)

    await ensure_warehouse(stage.settings, _declared(stage))
    listed = stage.put(generate_month(2019, 1, 50, 0), JANUARY)
    await stage.build(JANUARY, listed)
    # What somebody puts into our own schema is not dropped with what builds left there.
    stage.run(
        "create table quicksilver_build.yellow_trips__2 (id int);"
        " create table quicksilver_build.landed_yellow_tripdata__9 (id int);"
        " comment on table quicksilver_build.landed_yellow_tripdata__9 is 'quicksilver scratch 9'"
    )
    await ensure_warehouse(stage.settings, _declared(stage))
    assert stage.scratch() == ["yellow_trips__2"]
    stage.run("drop table quicksilver_build.yellow_trips__2")
    await stage.build(JANUARY, listed)

    assert _everything(stage, *theirs) == before
    assert stage.rows("select obj_description('build'::regnamespace)") == [("theirs",)]
    assert stage.counts(JANUARY)[0] == 50


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (
            "create schema quicksilver_build; create table quicksilver_build.releases (id int)",
            "schema quicksilver_build of the warehouse was there before and is not Quicksilver's:"
            " set QUICKSILVER_SCRATCH_SCHEMA to a name that is free",
        ),
        (
            "create schema partitions; create table partitions.disks (id int)",
            "schema partitions of the warehouse was there before",
        ),
        (
            "create schema quicksilver; create table quicksilver.fence (id int)",
            "schema quicksilver of the warehouse holds tables that are not Quicksilver's",
        ),
    ],
)
async def test_a_schema_of_somebody_else_s_is_refused(
    stage: PartitionStage, made: str, said: str
) -> None:
    stage.run(made)
    before = stage.rows(_SCHEMAS)
    with pytest.raises(NotOursError) as refused:
        await ensure_warehouse(stage.settings, _declared(stage))
    assert said in str(refused.value)
    assert stage.rows(_SCHEMAS) == before, "nothing was made"
    if "quicksilver_build" in made:
        url = stage.url
        other = load_settings(warehouse_url=url, scratch_schema="our_scratch")
        await ensure_warehouse(other, _declared(stage))
        assert stage.rows("select count(*) from quicksilver_build.releases") == [(0,)]


@pytest.mark.parametrize(
    ("table", "made"),
    [
        ("bronze.yellow_tripdata", "create table bronze.yellow_tripdata (id int, dt date)"),
        ("silver.yellow_trips", "create view silver.yellow_trips as select 1 as id"),
        (
            "gold.daily_revenue",
            "create table gold.daily_revenue (id int, dt date) partition by list (dt)",
        ),
        ("gold.taxi_zones", "create table gold.taxi_zones (zone_id smallint, zone text)"),
    ],
)
async def test_a_table_of_somebody_else_s_is_refused(
    stage: PartitionStage, table: str, made: str
) -> None:
    schema = table.partition(".")[0]
    stage.run(f"create schema {schema}; {made}")
    before = _everything(stage, table)
    with pytest.raises(NotOursError, match=rf"{table} of the warehouse was there before"):
        await ensure_warehouse(stage.settings, _declared(stage))
    with pytest.raises(NotOursError, match=rf"{table} of the warehouse was there before"):
        await stage.build(JANUARY, stage.put(generate_month(2019, 1, 50, 0), JANUARY))
    assert _everything(stage, table) == before


async def test_only_what_is_declared_is_made(stage: PartitionStage) -> None:
    green = stage.dataset.model_copy(
        update={"name": "nyc_tlc.green_tripdata", "bronze_table": "bronze.green_tripdata"}
    )
    declared = Datasets(datasets=(green,), path=stage.settings.datasets_file)
    await ensure_warehouse(stage.settings, declared)
    made = {
        row[0]
        for row in stage.rows(
            "select schema_name || '.' || table_name from quicksilver.published_table"
        )
    }
    assert "bronze.green_tripdata" in made
    assert "silver.green_trips" in made
    assert not {name for name in made if "yellow" in name}
    found = stage.rows("select tablename from pg_tables where tablename like %s", "%yellow%")
    assert found == []
    stage.run(
        "drop schema bronze, silver, gold, quicksilver, quicksilver_build, partitions cascade"
    )
    orders = stage.dataset.model_copy(
        update={"name": "shop.orders", "bronze_table": "bronze.orders", "columns": {}}
    )
    await ensure_warehouse(stage.settings, Datasets(datasets=(orders,), path=declared.path))
    assert stage.rows("select schema_name, table_name from quicksilver.published_table") == [
        ("bronze", "orders")
    ]


_EARLIER = """
create schema bronze; create schema silver; create schema gold; create schema partitions;
create schema build; create schema quicksilver;
create table quicksilver.fence (
    dataset text not null, dt date not null, holder bigint not null,
    is_revoked boolean not null default false, published_build bigint, generation bigint,
    updated_at timestamptz not null default now(), worker bigint, primary key (dataset, dt)
);
create table quicksilver.publication (
    build_id bigint primary key, dataset text not null, dt date not null,
    generation bigint not null, rows_bronze bigint not null, rows_silver bigint not null,
    rows_rejected bigint not null, loaded_at timestamptz,
    published_at timestamptz not null default clock_timestamp(), details jsonb not null default '{}'
);
create index publication_partition on quicksilver.publication (dataset, dt, build_id);
create table quicksilver.seeded (
    is_only boolean primary key default true check (is_only), version text not null,
    seeded_at timestamptz not null default now()
);
"""


async def test_a_warehouse_of_0_2_0_is_taken_over_as_it_is(stage: PartitionStage) -> None:
    """Its tables are found by how they are cut, its scratch schema is left to whoever has it."""
    await ensure_warehouse(stage.settings, _declared(stage))
    listed = stage.put(generate_month(2019, 1, 50, 0), JANUARY)
    await stage.build(JANUARY, listed)
    stage.run(
        "alter schema quicksilver rename to later;"
        " drop schema quicksilver_build; comment on schema partitions is null;"
        + _EARLIER.replace(
            "create schema bronze; create schema silver; create schema gold;", ""
        ).replace("create schema partitions;", "")
        + "insert into quicksilver.fence (dataset, dt, holder, published_build, generation)"
        " values ('nyc_tlc.yellow_tripdata', '2019-01-01', 1, 1, 1);"
        " insert into quicksilver.publication (build_id, dataset, dt, generation, rows_bronze,"
        " rows_silver, rows_rejected) values (1, 'nyc_tlc.yellow_tripdata', '2019-01-01', 1, 50,"
        " 50, 0); insert into quicksilver.seeded (version) values ('old');"
        " create table build.yellow_trips__7 (id int); drop schema later cascade;"
        " create table bronze.somebody_s (id int)"
    )
    before = stage.counts(JANUARY)

    # The first build after the upgrade may come before anybody calls `init`.
    await stage.build(JANUARY, listed, build_id=2)
    await ensure_warehouse(stage.settings, _declared(stage))

    assert stage.counts(JANUARY) == before
    assert stage.rows("select published_build from quicksilver.fence") == [(2,)]
    assert stage.rows("select count(*) from build.yellow_trips__7") == [(0,)]
    made = stage.rows("select schema_name || '.' || table_name from quicksilver.published_table")
    assert {"bronze.yellow_tripdata", "gold.yearly_summary", "gold.taxi_zones"} <= {
        row[0] for row in made
    }
    assert ("bronze.somebody_s",) not in made
