"""A typical dbt project of somebody's own, run as it is: on DuckDB and on Postgres."""

import asyncio
import shutil
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb
import psycopg
import psycopg.conninfo
import pytest
from prefect.client.orchestration import get_client

from quicksilver.build import dbt_invocation, own_dbt
from quicksilver.build.own_dbt import DbtNode, own_project, refuse_failed
from quicksilver.domain.declaration import DbtRule
from quicksilver.errors import DataTestError, SettingsError
from quicksilver.flows import dbt_build as dbt_flow
from quicksilver.flows.dbt_build import dbt_build
from quicksilver.settings import load_settings

_FILES = {
    "dbt_project.yml": """
name: shop
version: 1.0.0
profile: shop
models: {shop: {staging: {+materialized: view}}}
""",
    "seeds/orders.csv": "id,day,amount\n1,2024-05-01,10\n2,2024-05-01,20\n3,2024-05-02,5\n",
    "models/staging/stg_orders.sql": "select id, day, amount from {{ ref('orders') }}",
    "models/staging/stg_orders.yml": """
models:
  - name: stg_orders
    columns:
      - name: id
        data_tests: [unique, not_null]
      - name: amount
        data_tests: [{checks.is_positive: {}}]
""",
    "models/sales.sql": """
{{ config(materialized='incremental', unique_key='id') }}
select id, day, amount, '{{ var("day") }}' as built_for from {{ ref('stg_orders') }}
{% if is_incremental() %} where day = cast('{{ var("day") }}' as date) {% endif %}
""",
    "snapshots/amounts.sql": """
{% snapshot amounts %}
{{ config(unique_key='id', strategy='check', check_cols=['amount'], target_schema='history') }}
select id, amount from {{ ref('stg_orders') }}
{% endsnapshot %}
""",
    "packages.yml": "packages: [{local: ../checks}]\n",
    "../checks/dbt_project.yml": "name: checks\nversion: 1.0.0\n",
    "../checks/macros/is_positive.sql": (
        "{% test is_positive(model, column_name) %}"
        " select * from {{ model }} where {{ column_name }} <= 0 {% endtest %}"
    ),
}


@pytest.fixture(params=["duckdb", "postgres"])
def shop(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Path, Callable[[str], list[Any]]]]:
    """The project's folder, and how to ask its database."""
    folder = tmp_path / "shop"
    for name, text in _FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    # As `dbt deps` leaves a local package: a link.
    (folder / "dbt_packages").mkdir()
    (folder / "dbt_packages" / "checks").symlink_to(tmp_path / "checks")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if request.param == "duckdb":
        file = tmp_path / "shop.duckdb"
        output = f"{{type: duckdb, path: '{file}', threads: 1}}"

        def ask(query: str) -> list[Any]:
            with duckdb.connect(str(file)) as connection:
                return connection.execute(query).fetchall()
    else:
        url: str = request.getfixturevalue("warehouse_url")
        parts = urlsplit(url)
        output = (
            f"{{type: postgres, host: '{_host(url)}', port: {_port(url)}, user: '{parts.username}',"
            f" password: '{parts.password}', dbname: '{_database(url)}', schema: main, threads: 2}}"
        )

        def ask(query: str) -> list[Any]:
            with psycopg.connect(url) as connection:
                return connection.execute(query.encode()).fetchall()

    (folder / "profiles.yml").write_text(
        f"shop: {{target: dev, outputs: {{dev: {output}}}}}", encoding="utf-8"
    )
    yield folder, ask
    shutil.rmtree(folder)


def _host(url: str) -> str:
    return str(psycopg.conninfo.conninfo_to_dict(url)["host"])


def _port(url: str) -> str:
    return str(psycopg.conninfo.conninfo_to_dict(url).get("port", 5432))


def _database(url: str) -> str:
    return str(psycopg.conninfo.conninfo_to_dict(url)["dbname"])


@contextmanager
def _parses(monkeypatch: pytest.MonkeyPatch) -> Generator[list[str]]:
    """Notes every version that is asked for, and whether it had to be parsed."""
    seen: list[str] = []
    version = own_dbt.OwnProject._version  # pyright: ignore[reportPrivateUsage]

    def noted(self: own_dbt.OwnProject) -> str:
        found = version(self)
        seen.append(found)
        return found

    monkeypatch.setattr(own_dbt.OwnProject, "_version", noted)
    yield seen


def _run(folder: Path, day: str) -> list[DbtNode]:
    rule = DbtRule(project="shop", vars={"day": "{dt}"})
    return own_project(rule, {"day": day}, folder.parent).run()


def test_a_typical_project_builds_again_and_again(
    shop: tuple[Path, Callable[[str], list[Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, ask = shop
    with _parses(monkeypatch) as versions:
        nodes = _run(folder, "2024-05-01")
        refuse_failed(nodes)
        assert {(n.name, n.kind) for n in nodes} >= {
            ("orders", "seed"),
            ("stg_orders", "model"),
            ("sales", "model"),
            ("amounts", "snapshot"),
        }
        assert sum(n.kind == "test" for n in nodes) == 3
        assert len(ask("select * from main.sales")) == 3

        seed = folder / "seeds" / "orders.csv"
        _run(folder, "2024-05-02")
        assert len(set(versions)) == 1, "another day is no other project"
        seed.write_text(seed.read_text().replace("2,2024-05-01,20", "2,2024-05-02,21"))
        _run(folder, "2024-05-02")
        assert len(set(versions)) == 2
        assert ask("select id, amount, built_for from main.sales order by id") == [
            (1, 10, "2024-05-01"),
            (2, 21, "2024-05-02"),
            (3, 5, "2024-05-02"),
        ]
        history = "select id, amount from history.amounts where dbt_valid_to is null order by id"
        assert ask(history) == [(1, 10), (2, 21), (3, 5)]

        # A package is a linked folder: what changes in it is a change of the project.
        macro = folder.parent / "checks" / "macros" / "is_positive.sql"
        macro.write_text(macro.read_text().replace("<= 0", "<= 5"))
        failed = _run(folder, "2024-05-02")
        assert len(set(versions)) == 3
        with pytest.raises(DataTestError, match="1 of 7 nodes failed: test checks_is_positive"):
            refuse_failed(failed)
    assert not (folder / "target").exists()


@pytest.mark.parametrize("shop", ["duckdb"], indirect=True)
def test_old_parses_of_a_project_are_removed(
    shop: tuple[Path, Callable[[str], list[Any]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = shop
    monkeypatch.setattr(dbt_invocation, "_KEPT", 1)
    rule = DbtRule(project="shop", command="seed")
    left: list[set[Path]] = []
    for day in ("2024-05-01", "2024-05-02"):
        # A variable in a configuration is part of the version: one a partition.
        (folder / "models" / "sales.yml").write_text(
            "models: [{name: sales, config: {tags: ['{{ var(\"day\") }}']}}]"
        )
        refuse_failed(own_project(rule, {"day": day}, folder.parent).run())
        left.append(set((tmp_path / "cache").rglob("*.msgpack")))
    assert [len(parses) for parses in left] == [1, 1]
    assert left[0] != left[1], "the newest is the one that stays"


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"dbt\.project: .* holds no dbt_project\.yml"):
        own_project(DbtRule(project="nowhere"), {}, tmp_path)
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "dbt_project.yml").write_text("name: shop")
    with pytest.raises(SettingsError, match=r"dbt\.profiles_dir: .* holds no profiles\.yml"):
        own_project(DbtRule(project="shop", profiles_dir="shop"), {}, tmp_path)
    (tmp_path / "shop" / "profiles.yml").write_text("shop: {}")
    (tmp_path / "shop" / "packages.yml").write_text("packages: []")
    with pytest.raises(SettingsError, match="run `dbt deps` in"):
        own_project(DbtRule(project="shop"), {}, tmp_path)


@pytest.mark.parametrize("shop", ["duckdb"], indirect=True)
async def test_the_flow_leaves_its_results_and_fails_with_a_test(
    shop: tuple[Path, Callable[[str], list[Any]]],
    ledger_url: str,
    prefect_api: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, ask = shop
    (folder.parent / "datasets.yaml").write_text(
        """
datasets:
  shop.sales:
    bucket: lake
    key: sales/dt={dt}/{file}
    deployment: dbt-build/default
    dbt: {project: shop, vars: {day: "{dt}"}}
"""
    )
    monkeypatch.setenv("QUICKSILVER_PROJECT", str(folder.parent))
    monkeypatch.setenv("QUICKSILVER_DATASETS", str(folder.parent / "datasets.yaml"))
    monkeypatch.setenv("QUICKSILVER_DATABASE_URL", ledger_url)
    monkeypatch.setenv("PREFECT_API_URL", prefect_api)

    result = await dbt_build("shop.sales", "2024-05-01")
    assert {"name": "sales", "kind": "model", "status": "success"}.items() <= {
        name: value
        for node in result["nodes"]
        if node["name"] == "sales"
        for name, value in node.items()
    }.items()
    assert {row[0] for row in ask("select built_for from main.sales")} == {"2024-05-01"}

    seed = folder / "seeds" / "orders.csv"
    seed.write_text(seed.read_text() + "4,2024-05-02,-1\n")
    with pytest.raises(DataTestError, match="is_positive"):
        await dbt_build("shop.sales", "2024-05-02")
    async with get_client() as client:
        artifacts = await client.read_artifacts()
    shown = [str(one.data) for one in artifacts if one.key == "dbt-build-shop-sales-2024-05-02"]
    assert len(shown) == 1
    assert "| fail | 1 |" in shown[0].splitlines()[4], "what failed comes first"


async def test_runs_of_one_project_take_turns(ledger_url: str) -> None:
    settings = load_settings(database_url=ledger_url)
    order: list[str] = []
    second = asyncio.Event()

    async def other() -> None:
        second.set()
        async with dbt_flow._turn(settings, "/shop", 1):  # pyright: ignore[reportPrivateUsage]
            order.append("second")

    async with dbt_flow._turn(settings, "/shop", 1):  # pyright: ignore[reportPrivateUsage]
        waiting = asyncio.create_task(other())
        await second.wait()
        async with dbt_flow._turn(settings, "/another", 1):  # pyright: ignore[reportPrivateUsage]
            order.append("another project")
        # Two at a time are two slots, of which one is taken.
        async with dbt_flow._turn(settings, "/shop", 2):  # pyright: ignore[reportPrivateUsage]
            order.append("where two may run")
    await waiting
    assert order == ["another project", "where two may run", "second"]
