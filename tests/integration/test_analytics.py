"""The dbt project by itself: its unit tests, its documentation, its promises."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import psycopg2
import pytest

from quicksilver.build import dbt, dbt_project
from quicksilver.build import dbt_patches as dbt_shortcuts
from quicksilver.build.prepare import ensure_warehouse
from quicksilver.domain.datasets import load_datasets
from quicksilver.settings import Settings, load_settings
from tests.support.checkout import PROJECT

DATASETS = load_datasets(PROJECT / "datasets.yaml")


@pytest.fixture
async def settings(warehouse_url: str) -> Settings:
    settings = load_settings(warehouse_url=warehouse_url)
    await ensure_warehouse(settings, DATASETS)
    return settings


async def test_every_rule_has_a_unit_test_and_all_pass(settings: Settings) -> None:
    results = await asyncio.to_thread(
        dbt.run, settings, ["test"], {}, select="resource_type:unit_test", exclude="tag:none"
    )
    assert {result.name: result.message for result in results if not result.ok} == {}
    tested = {result.unique_id.split(".")[2] for result in results}
    nodes = dbt_project.manifest().nodes.values()
    assert tested == {node.name for node in nodes if node.resource_type == "model"}


async def test_data_tests_hold_on_an_empty_warehouse(settings: Settings) -> None:
    results = await asyncio.to_thread(dbt.run, settings, ["test"], {}, select="resource_type:test")
    assert len(results) >= 4
    assert [result.name for result in results if not result.ok] == []


async def test_preparing_twice_at_once_changes_nothing(settings: Settings) -> None:
    def tables() -> list[tuple[object, ...]]:
        with psycopg.connect(settings.warehouse_url.get_secret_value()) as reader:
            return reader.execute(
                "select schemaname, tablename from pg_tables"
                " where schemaname in ('bronze', 'silver', 'gold') order by 1, 2"
            ).fetchall()

    before = tables()
    await asyncio.gather(*(ensure_warehouse(settings, DATASETS) for _ in range(3)))
    assert tables() == before
    assert ("gold", "yearly_summary") in before
    assert ("silver", "yellow_trips_rejected") in before


async def test_preparing_drops_what_dead_builds_left(settings: Settings) -> None:
    url = settings.warehouse_url.get_secret_value()
    with psycopg.connect(url, application_name="quicksilver build 8", autocommit=True) as alive:
        for build in (7, 8):
            made = (
                f"create table quicksilver_build.zones__{build} (); comment on table"
                f" quicksilver_build.zones__{build} is 'quicksilver scratch {build}'"
            )
            alive.execute(made.encode())
        alive.execute("create table quicksilver_build.theirs__7 ()")
        await ensure_warehouse(settings, DATASETS)
        left = alive.execute(
            "select tablename from pg_tables where schemaname = 'quicksilver_build' order by 1"
        )
        assert left.fetchall() == [("theirs__7",), ("zones__8",)]


def test_every_column_is_described_and_every_model_says_its_grain() -> None:
    parsed = dbt_project.manifest()
    for node in parsed.nodes.values():
        if node.resource_type in ("model", "seed"):
            assert "Grain:" in node.description, node.name
            assert node.columns, node.name
            assert all(c.description and c.data_type for c in node.columns.values()), node.name
        if node.resource_type == "model" and node.config.materialized == "partition":
            assert node.config.contract.enforced, node.name


async def test_docs_generate_works_from_the_command_line(
    settings: Settings, tmp_path: Path
) -> None:
    environment = {**os.environ, **dbt.warehouse_environment(settings)}
    command = [str(Path(sys.executable).with_name("dbt")), "docs", "generate"]
    command += ["--project-dir", str(dbt_project.analytics()), "--target-path", str(tmp_path)]
    command += ["--profiles-dir", str(dbt_project.analytics()), "--log-path", str(tmp_path)]
    done = await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    catalog = json.loads((tmp_path / "catalog.json").read_text())
    assert "model.quicksilver.yellow_trips" in catalog["nodes"]


async def test_freshness_is_measured_by_what_was_published(settings: Settings) -> None:
    with psycopg.connect(settings.warehouse_url.get_secret_value(), autocommit=True) as writer:
        for build, (dataset, days) in enumerate(
            {"nyc_tlc.yellow_tripdata": 1, "nyc_tlc.green_tripdata": 60}.items()
        ):
            writer.execute(
                "insert into quicksilver.publication (build_id, dataset, partition, dt, generation,"
                " rows_bronze, rows_silver, rows_rejected, loaded_at)"
                " values (%s, %s, '2019-01-01', '2019-01-01', 1, 1, 1, 0,"
                " now() - make_interval(days => %s))",
                (build, dataset, days),
            )
    results = await asyncio.to_thread(
        dbt._invoke,  # pyright: ignore[reportPrivateUsage]
        ["source", "freshness"],
        dbt.warehouse_environment(settings),
        select="source:*",
        exclude="resource_type:unit_test",
    )
    assert {result.node.name: str(result.status) for result in results} == {
        "yellow_tripdata": "pass",
        "green_tripdata": "warn",
    }


def test_every_published_table_is_somebodys() -> None:
    parsed = dbt_project.manifest()
    used = {name for e in parsed.exposures.values() for name in e.depends_on.nodes}
    published = {n.unique_id for n in parsed.nodes.values() if dbt_project.is_published(n)}
    assert published <= used, "a table without an exposure"
    assert all(e.owner.name and e.description for e in parsed.exposures.values())


async def test_a_model_by_hand_is_refused_with_the_way_to_build_it(settings: Settings) -> None:
    results = await asyncio.to_thread(dbt.run, settings, ["run"], {}, select="daily_revenue")
    assert results[0].status == "error"
    assert "quicksilver rebuild DATASET DT" in results[0].message


async def test_dbt_takes_every_shortcut(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven nodes, and no connection for each of them."""
    connect = psycopg2.connect
    opened: list[str] = []

    def counted(*arguments: Any, **keywords: Any) -> Any:
        opened.append(keywords["host"])
        return connect(*arguments, **keywords)

    monkeypatch.setattr(psycopg2, "connect", counted)
    results = await asyncio.to_thread(dbt.run, settings, ["test"], {}, select="resource_type:test")
    assert dbt_shortcuts.install(settings) == [], "this version of dbt has no place for them"
    assert len(results) >= 7
    # One of the thread that asks, one of each of two that work.
    assert len(opened) <= 3


@pytest.mark.parametrize("is_cache_usable", [True, False])
async def test_a_parsed_project_is_found_again(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_cache_usable: bool
) -> None:
    cache = tmp_path / "cache"
    if not is_cache_usable:
        cache.touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setenv("QUICKSILVER_HOME", str(tmp_path / "home"))
    parsed = dbt_project.manifest()
    assert len(kept(tmp_path)) == 1
    assert kept(cache if is_cache_usable else tmp_path / "home")
    dbt_project._parsed.cache_clear()  # pyright: ignore[reportPrivateUsage]
    again = dbt_project.manifest()
    assert again is not parsed
    assert set(again.nodes) == set(parsed.nodes)
    results = await asyncio.to_thread(
        dbt.run, settings, ["test"], {}, select="bronze_is_silver_plus_rejected"
    )
    assert [result.status for result in results] == ["pass"]


def kept(folder: Path) -> list[Path]:
    return list(folder.rglob("partial_parse.msgpack"))
