"""Write, audit, publish: what a build leaves in the warehouse, whatever happens to it."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import psycopg
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from minio.commonconfig import ENABLED
from minio.versioningconfig import VersioningConfig

from quicksilver.build import batch, models
from quicksilver.build.columns import ArrowTable
from quicksilver.build.dbt import NodeResult
from quicksilver.build.yearly import build_year
from quicksilver.errors import DataTestError, FencedError, ManifestChangedError, ModelError
from quicksilver.flows.nyc_tlc.generated import Flaws, generate_month
from quicksilver.lake.object_file import BronzeObject
from quicksilver.settings import Settings
from tests.support.partition_child import STEPS, start
from tests.support.partition_stage import PartitionStage, make_stage
from tests.support.servers import MinioServer
from tests.support.waiting import until

JANUARY, FEBRUARY, MARCH = date(2019, 1, 1), date(2019, 2, 1), date(2019, 3, 1)
FLAWS = Flaws(
    negative_total=7, zero_length=5, outside_month=4, duplicate=6, just_before=2, unknown_meter=3
)

# Its functions are made at run time, where a checker does not see them.
_compute: Any = pc


@pytest.fixture
def stage(warehouse_url: str, minio_server: MinioServer) -> PartitionStage:
    return make_stage(warehouse_url, minio_server)


def month(dt: date, rows: int = 400, seed: int = 0, flaws: Flaws | None = None) -> ArrowTable:
    return generate_month(dt.year, dt.month, rows, seed, flaws=flaws)


async def test_a_month_becomes_silver_with_a_reason_for_each_row_turned_away(
    stage: PartitionStage,
) -> None:
    result = await stage.build(JANUARY, stage.put(month(JANUARY, flaws=FLAWS), JANUARY))

    assert result.rejected_by_reason == {
        "dropoff_not_after_pickup": 5,
        "duplicate": 6,
        "negative_total": 7,
        "pickup_outside_month": 4,
    }
    assert (result.rows_bronze, result.rows_silver, result.rows_rejected) == (400, 378, 22)
    assert stage.counts(JANUARY) == (400, 378, 22)
    assert stage.scratch() == []
    revenue, trips = stage.rows("select sum(revenue), sum(trips) from gold.daily_revenue")[0]
    assert trips == 378
    assert revenue == stage.rows("select sum(total_amount) from silver.yellow_trips")[0][0]


async def test_times_are_utc_from_new_york(stage: PartitionStage) -> None:
    table = month(JANUARY, rows=20, flaws=Flaws())
    await stage.build(JANUARY, stage.put(table, JANUARY))

    expected = _compute.min(table["tpep_pickup_datetime"]).as_py()
    found = stage.rows(
        "select min(pickup_at) at time zone 'America/New_York',"
        " min(pickup_at) at time zone 'UTC' - min(pickup_at) at time zone 'America/New_York'"
        " from silver.yellow_trips"
    )[0]
    assert found[0] == expected
    assert found[1].total_seconds() == 5 * 3600


async def test_a_version_that_expired_is_read_by_its_etag(stage: PartitionStage) -> None:
    bucket = stage.dataset.bucket
    stage.lake.set_bucket_versioning(bucket, VersioningConfig(ENABLED))
    first, second = (stage.put(month(JANUARY, rows=20), JANUARY) for _ in range(2))
    assert first.version_id
    assert (first.etag, first.version_id != second.version_id) == (second.etag, True)
    stage.lake.remove_object(bucket, first.key, version_id=first.version_id)

    with pq.ParquetFile(BronzeObject(stage.lake, bucket, first)) as file:
        assert file.read().num_rows == 20

    stage.put(month(JANUARY, rows=30), JANUARY)
    stage.lake.remove_object(bucket, first.key, version_id=second.version_id)
    with pytest.raises(ManifestChangedError):
        BronzeObject(stage.lake, bucket, first).read(1)


async def test_building_twice_changes_nothing_but_the_build(stage: PartitionStage) -> None:
    listed = stage.put(month(JANUARY, flaws=FLAWS), JANUARY)
    query = "select * from silver.yellow_trips order by trip_id"
    await stage.build(JANUARY, listed)
    first = stage.rows(query)
    await stage.build(JANUARY, listed)
    assert stage.rows(query) == first
    assert stage.rows("select published_build from quicksilver.fence") == [(2,)]


async def test_an_overwrite_rebuilds_that_partition_only(stage: PartitionStage) -> None:
    for dt in (JANUARY, FEBRUARY):
        await stage.build(dt, stage.put(month(dt), dt))
    before = stage.rows("select * from silver.yellow_trips where dt = %s order by 1", FEBRUARY)
    await stage.build(JANUARY, stage.put(month(JANUARY, rows=300, seed=1), JANUARY))
    assert stage.counts(JANUARY)[0] == 300
    after = stage.rows("select * from silver.yellow_trips where dt = %s order by 1", FEBRUARY)
    assert after == before


async def test_several_files_are_one_partition(stage: PartitionStage) -> None:
    table = month(JANUARY)
    files = [
        stage.put(table.slice(0, 150), JANUARY, "a.parquet"),
        stage.put(table.slice(150), JANUARY, "b.parquet"),
    ]
    whole = await stage.build(FEBRUARY, stage.put(month(FEBRUARY), FEBRUARY))
    result = await stage.build(JANUARY, *files)
    assert result.rows_bronze == whole.rows_bronze == 400
    # The same rows once more, in another file, are duplicates.
    files.append(stage.put(table.slice(0, 10), JANUARY, "c.parquet"))
    again = await stage.build(JANUARY, *files)
    assert again.rows_silver == result.rows_silver
    assert again.rows_bronze == 410


async def test_an_empty_manifest_empties_the_partition(stage: PartitionStage) -> None:
    await stage.build(JANUARY, stage.put(month(JANUARY), JANUARY))
    await stage.build(JANUARY)
    assert stage.counts(JANUARY) == (0, 0, 0)
    assert stage.rows("select count(*) from gold.daily_revenue") == [(0,)]


async def test_an_object_that_changed_ends_the_build_and_leaves_silver(
    stage: PartitionStage,
) -> None:
    old = stage.put(month(JANUARY), JANUARY)
    await stage.build(JANUARY, old)
    stage.put(month(JANUARY, rows=300), JANUARY)
    with pytest.raises(ManifestChangedError, match=r"no longer the object that was listed"):
        await stage.build(JANUARY, old)
    stage.lake.remove_object(stage.dataset.bucket, old.key)
    with pytest.raises(ManifestChangedError):
        await stage.build(JANUARY, old)
    assert stage.counts(JANUARY)[0] == 400
    assert stage.scratch() == []


async def test_a_newer_build_fences_an_older_one(stage: PartitionStage) -> None:
    listed = stage.put(month(JANUARY), JANUARY)
    await stage.build(JANUARY, listed, build_id=20)
    with pytest.raises(FencedError, match="a newer build holds the partition"):
        await stage.build(JANUARY, listed, build_id=19)
    with pytest.raises(FencedError):
        await stage.build(JANUARY, listed, build_id=20)


async def test_a_zombie_cannot_publish_after_it_was_given_up(
    stage: PartitionStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.build(JANUARY, stage.put(month(JANUARY), JANUARY), build_id=1)
    listed = stage.put(month(JANUARY, rows=300), JANUARY)
    refuse = batch.refuse_failures
    said: list[object] = []

    async def given_up_meanwhile(*everything: object) -> None:
        await refuse(*everything)  # pyright: ignore[reportArgumentType]
        # Another build takes over; the zombie's session is not ended, to see the fence alone.
        with psycopg.connect(stage.url, autocommit=True) as other:
            other.execute(
                "update quicksilver.fence set is_revoked = true"
                if not said
                else "update quicksilver.fence set holder = 99, is_revoked = false"
            )
        said.append(1)

    monkeypatch.setattr(batch, "refuse_failures", given_up_meanwhile)
    with pytest.raises(FencedError, match="may not publish: it was given up"):
        await stage.build(JANUARY, listed, build_id=2)
    with pytest.raises(FencedError, match="may not publish: build 99 holds it now"):
        await stage.build(JANUARY, listed, build_id=3)
    assert stage.counts(JANUARY)[0] == 400
    assert stage.rows("select published_build from quicksilver.fence") == [(1,)]


async def test_settle_tells_what_was_published_and_revokes_what_was_not(
    stage: PartitionStage,
) -> None:
    assert await stage.settle(JANUARY, 1) is None
    listed = stage.put(month(JANUARY, flaws=FLAWS), JANUARY)
    with pytest.raises(FencedError):
        await stage.build(JANUARY, listed, build_id=1)
    result = await stage.build(JANUARY, listed, build_id=2)
    answer = await stage.settle(JANUARY, 2)
    assert answer is not None
    assert answer["rows_silver"] == result.rows_silver
    assert answer["rows_rejected"] == 22
    assert answer["loaded_at"] == result.loaded_at
    assert answer["details"]["rejected_by_reason"] == result.rejected_by_reason
    assert await stage.settle(JANUARY, 3) is None
    # What was given up does not stand in the way of the next attempt, nor undo the last one.
    assert stage.counts(JANUARY) == (400, 378, 22)
    await stage.build(JANUARY, listed, build_id=4)
    assert await stage.settle(JANUARY, 2) == answer


async def test_settle_ends_the_sessions_of_a_build_that_hangs(stage: PartitionStage) -> None:
    await stage.settle(JANUARY, 1)
    with psycopg.connect(stage.url, application_name="quicksilver build 7") as hanging:
        hanging.execute("select 1")
        await stage.settle(JANUARY, 7)
        with pytest.raises(psycopg.OperationalError):
            hanging.execute("select 1")


@pytest.mark.parametrize("step", list(STEPS))
async def test_killed_at_any_step_the_partition_is_whole(stage: PartitionStage, step: str) -> None:
    await stage.build(JANUARY, stage.put(month(JANUARY), JANUARY), build_id=1)
    new = stage.put(month(JANUARY, rows=300, seed=1), JANUARY)
    child = start(stage.settings, stage.dataset, [(JANUARY, 2, [new])], die_at=step)
    code, said = await asyncio.to_thread(child.wait)
    assert code == -9, said
    published = await stage.settle(JANUARY, 2)
    assert (published is not None) == (step == "after publish")
    rows, silver, rejected = stage.counts(JANUARY)
    assert rows == (300 if published else 400) == silver + rejected
    assert stage.rows("select sum(trips) from gold.daily_revenue") == [(silver,)]
    result = await stage.build(JANUARY, new, build_id=3)
    assert stage.counts(JANUARY)[0] == 300 == result.rows_bronze
    assert stage.scratch() == []


async def test_partitions_built_at_once_never_fail_each_other(stage: PartitionStage) -> None:
    months = [date(2019, number, 1) for number in range(1, 13)]
    listed = {dt: stage.put(month(dt, rows=120, flaws=Flaws()), dt) for dt in months}
    ids = iter(range(1, 1000))
    children = [
        start(
            stage.settings,
            stage.dataset,
            [(dt, next(ids), [listed[dt]]) for dt in months[number::4] * 2],
        )
        for number in range(4)
    ]
    ended = await asyncio.gather(*(asyncio.to_thread(child.wait) for child in children))
    said = [line for _, lines in ended for line in lines]
    assert len(said) == 24, ended
    assert all(line.endswith("built 120") for line in said), said
    assert stage.rows("select dt, count(*) from silver.yellow_trips group by dt order by dt") == [
        (dt, 120) for dt in months
    ]
    assert stage.scratch() == []


async def test_readers_are_not_held_up_by_a_publish(stage: PartitionStage) -> None:
    await stage.build(JANUARY, stage.put(month(JANUARY), JANUARY))
    with psycopg.connect(stage.url) as reader:
        reader.execute("set lock_timeout = '1ms'")
        # Its locks last as long as its transaction: a publish must get along with them.
        counted = reader.execute("select count(*) from silver.yellow_trips").fetchone()
        await stage.build(FEBRUARY, stage.put(month(FEBRUARY), FEBRUARY))
        await stage.build(JANUARY, stage.put(month(JANUARY, rows=300), JANUARY))
        reader.execute("select count(*) from gold.daily_revenue")
        assert counted is not None


async def test_a_failed_test_names_itself_and_shows_rows(
    stage: PartitionStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.build(JANUARY, stage.put(month(JANUARY), JANUARY))
    run = models.dbt.run

    def losing_rows(
        settings: Settings, command: Sequence[str], environment: Mapping[str, str], **rest: Any
    ) -> list[NodeResult]:
        run(settings, command, environment, **rest)
        (scratch,) = (name for name in stage.scratch() if "rejected" in name)
        stage.run(f"delete from quicksilver_build.{scratch}")
        return run(settings, ["test"], environment, **rest)

    monkeypatch.setattr(models.dbt, "run", losing_rows)
    listed = stage.put(month(JANUARY, rows=300, flaws=FLAWS), JANUARY)
    with pytest.raises(DataTestError) as caught:
        await stage.build(JANUARY, listed, build_id=2)
    message = str(caught.value)
    assert "dbt test bronze_is_silver_plus_rejected failed with 1 rows" in message
    assert "2019-01-01" not in message, "rows are for operators, an error is for everybody"
    (row,) = caught.value.rows
    assert (row["bronze"], row["dt"]) == ("300", "2019-01-01")
    stage.settings = stage.settings.model_copy(update={"failed_rows": 0})
    with pytest.raises(DataTestError, match="failed with 1 rows") as silent:
        await stage.build(JANUARY, listed, build_id=3)
    assert silent.value.rows == ()
    assert stage.counts(JANUARY)[0] == 400


async def test_a_column_that_changed_its_type_is_a_decision_for_a_person(
    stage: PartitionStage,
) -> None:
    await stage.build(JANUARY, stage.put(month(JANUARY), JANUARY))
    stage.run("alter table gold.daily_revenue alter column trips type text")
    with pytest.raises(ModelError, match=r"column trips of gold\.daily_revenue is text"):
        await stage.build(JANUARY, stage.put(month(JANUARY), JANUARY))


async def test_a_column_that_is_new_in_a_model_is_added(stage: PartitionStage) -> None:
    await stage.build(JANUARY, stage.put(month(JANUARY), JANUARY))
    stage.run("alter table gold.daily_revenue drop column tolls, add column gone text")
    await stage.build(FEBRUARY, stage.put(month(FEBRUARY), FEBRUARY))
    await stage.build(JANUARY, stage.put(month(JANUARY), JANUARY))
    assert stage.rows(
        "select count(*) from gold.daily_revenue where tolls is null or gone is not null"
    ) == [(0,)]


async def test_the_year_is_built_from_what_is_published(stage: PartitionStage) -> None:
    for dt in (JANUARY, FEBRUARY, date(2018, 12, 1)):
        await stage.build(dt, stage.put(month(dt, flaws=FLAWS), dt))
    assert (await build_year(stage.settings, 2019))["months"] == 2
    assert stage.rows("select year, months, trips, rejected from gold.yearly_summary") == [
        (2019, 2, 756, 44)
    ]
    await build_year(stage.settings, 2018)
    await build_year(stage.settings, 2019)
    assert stage.rows("select year, trips from gold.yearly_summary order by year") == [
        (2018, 378),
        (2019, 756),
    ]
    assert stage.scratch() == []


async def test_a_year_whose_marts_disagree_keeps_its_summary(stage: PartitionStage) -> None:
    await stage.build(JANUARY, stage.put(month(JANUARY), JANUARY))
    await build_year(stage.settings, 2019)
    before = stage.rows("select * from gold.yearly_summary")
    stage.run("update gold.daily_revenue set trips = trips + 1")
    with pytest.raises(DataTestError, match="marts_agree_over_the_year"):
        await build_year(stage.settings, 2019)
    assert stage.rows("select * from gold.yearly_summary") == before
    assert stage.scratch() == []


async def test_a_partition_waits_for_the_year_that_is_built_now(stage: PartitionStage) -> None:
    await stage.build(JANUARY, stage.put(month(JANUARY), JANUARY))
    listed = stage.put(month(JANUARY, rows=300), JANUARY)
    with psycopg.connect(stage.url) as gate:
        gate.execute("select pg_advisory_xact_lock(%s, 2019)", (0x51_59,))
        building = asyncio.create_task(stage.build(JANUARY, listed))
        waits = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
        await asyncio.to_thread(until, lambda: stage.rows(waits) == [(1,)], "the wait")
        assert stage.counts(JANUARY)[0] == 400
        # Another year is nobody's business.
        other = date(2020, 1, 1)
        assert not building.done()
        gate.rollback()
    await building
    await stage.build(other, stage.put(month(other), other))
    assert stage.counts(JANUARY)[0] == 300
