"""A typical dbt project of somebody's own, run as it is: on DuckDB and on Postgres."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb
import psycopg
import psycopg.conninfo
import pytest

from quicksilver.build import own_dbt
from quicksilver.build.own_dbt import DbtNode, own_project, refuse_failed
from quicksilver.domain.declaration import DbtRule
from quicksilver.errors import DataTestError, SettingsError

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
        data_tests: [{is_positive: {}}]
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
            with duckdb.connect(str(file), read_only=True) as connection:
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
def _parses(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
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
        with pytest.raises(DataTestError, match="1 of 7 nodes failed: test is_positive"):
            refuse_failed(failed)
    assert not (folder / "target").exists()


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
