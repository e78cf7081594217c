"""`quicksilver init` beside what is somebody else's: used as it is, or not touched."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from prefect.workers.process import ProcessWorker

from quicksilver.domain.datasets import load_datasets
from quicksilver.errors import QuicksilverError
from quicksilver.lake.bronze import minio_client
from quicksilver.operators.plan import plan
from quicksilver.operators.setup import initialise
from quicksilver.orchestrator.pool import configure_pool, engine_command
from quicksilver.settings import Settings, load_settings
from quicksilver.stack.initialise import initialise_again
from quicksilver.support.prefect_http import prefect_auth
from tests.support.servers import MinioServer

DATASETS = """
datasets:
  shop.sales:
    bucket: beside
    key: sales/dt={dt}/{file}
    files: "*.csv"
    deployment: load-sales/beside
"""
PREFECT = """
name: shop
deployments:
  - name: beside
    entrypoint: flows/load_sales.py:load_sales
    work_pool: {name: default}
"""
FLOW = """
from prefect import flow

@flow(name="load-sales")
def load_sales(dataset: str, dt: str) -> None:
    pass
"""
_GENERATED = {"updated", "status", "created"}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one dataset and one deployment of its own."""
    (tmp_path / "flows").mkdir()
    (tmp_path / "datasets.yaml").write_text(DATASETS)
    (tmp_path / "prefect.yaml").write_text(PREFECT)
    (tmp_path / "flows" / "load_sales.py").write_text(FLOW)
    monkeypatch.setenv("QUICKSILVER_PROJECT", str(tmp_path))
    return tmp_path


@pytest.fixture
def prefect(prefect_api: str) -> Iterator[httpx.Client]:
    """Prefect's API, as anybody may call it."""
    with httpx.Client(
        base_url=prefect_api, timeout=30, trust_env=False, auth=prefect_auth(os.environ)
    ) as client:
        yield client


def ask(client: httpx.Client, path: str, **body: Any) -> Any:
    """A POST that must succeed."""
    return client.post(path, json=body).raise_for_status().json()


def everything(client: httpx.Client) -> dict[str, dict[str, Any]]:
    """Pools and deployments by name, without what every look changes."""
    found = {
        **{each["name"]: each for each in ask(client, "/work_pools/filter")},
        **{each["name"]: each for each in ask(client, "/deployments/filter")},
    }
    return {
        name: {k: v for k, v in each.items() if k not in _GENERATED} for name, each in found.items()
    }


def drop(client: httpx.Client, path: str) -> None:
    """A DELETE; what is gone already is fine."""
    client.delete(path)


@pytest.fixture
def theirs(prefect: httpx.Client) -> Iterator[str]:
    """A process pool with a template of its own, and a deployment in it."""
    template: dict[str, Any] = ProcessWorker.get_default_base_job_template()
    template["variables"]["properties"]["command"]["default"] = "/opt/theirs/run"
    ask(prefect, "/work_pools/", name="theirs", type="process", base_job_template=template)
    flow = ask(prefect, "/flows/", name="their-flow")["id"]
    made = ask(
        prefect,
        "/deployments/",
        name="their-deployment",
        flow_id=flow,
        entrypoint="theirs.py:theirs",
        work_pool_name="theirs",
    )
    yield "theirs"
    for path in (f"/deployments/{made['id']}", "/work_pools/theirs"):
        drop(prefect, path)


def settings_of(prefect_api: str, ledger_url: str, warehouse_url: str, pool: str) -> Settings:
    return load_settings(
        prefect_api_url=prefect_api,
        database_url=ledger_url,
        warehouse_url=warehouse_url,
        pool=pool,
    )


async def test_a_pool_that_is_theirs_is_used_as_it_is(
    project: Path, prefect: httpx.Client, theirs: str, ledger_url: str, warehouse_url: str
) -> None:
    before = everything(prefect)
    settings = settings_of(str(prefect.base_url).rstrip("/"), ledger_url, warehouse_url, theirs)
    said: list[str] = []
    for _ in range(2):
        await initialise(settings, said.append, lanes=False)
    after = everything(prefect)
    made = after.pop("beside")
    assert after == before
    assert made["work_pool_name"] == theirs
    assert made["schedules"] == []
    assert f"{project}/flows" in str(made) or str(project) in str(made["pull_steps"])
    assert any("not made by Quicksilver, used as it is" in line for line in said)
    with psycopg.connect(warehouse_url) as connection:
        found = connection.execute(
            "select nspname from pg_namespace where nspname in ('bronze', 'silver', 'quicksilver')"
        ).fetchall()
    assert found == [], "no dataset becomes a table: the warehouse is not touched"
    drop(prefect, f"/deployments/{made['id']}")


async def test_their_template_changes_only_when_asked_by_name(
    prefect: httpx.Client, theirs: str
) -> None:
    settings = load_settings(prefect_api_url=str(prefect.base_url).rstrip("/"), pool=theirs)
    said = await configure_pool(settings, set_command=True)
    assert "command set" in said
    template = everything(prefect)[theirs]["base_job_template"]
    assert template["variables"]["properties"]["command"]["default"] == engine_command()


async def test_a_pool_of_ours_is_made_and_kept(prefect: httpx.Client) -> None:
    settings = load_settings(prefect_api_url=str(prefect.base_url).rstrip("/"), pool="ours")
    try:
        assert await configure_pool(settings) == "work pool ours: made"
        before = everything(prefect)
        assert await configure_pool(settings) == "work pool ours: in place"
        assert everything(prefect) == before
    finally:
        drop(prefect, "/work_pools/ours")


async def test_a_pool_of_another_type_gets_no_command(prefect: httpx.Client) -> None:
    ask(prefect, "/work_pools/", name="boxes", type="docker")
    settings = load_settings(prefect_api_url=str(prefect.base_url).rstrip("/"), pool="boxes")
    try:
        assert "used as it is (type docker)" in await configure_pool(settings)
        with pytest.raises(QuicksilverError, match="is of type docker"):
            await configure_pool(settings, set_command=True)
    finally:
        drop(prefect, "/work_pools/boxes")


async def test_a_plan_changes_nothing_and_says_the_commands(
    project: Path,
    prefect: httpx.Client,
    theirs: str,
    stack_postgres: Any,
    minio_server: MinioServer,
) -> None:
    empty = stack_postgres.create_database("planned", "ledger")
    before = everything(prefect)
    settings = load_settings(
        prefect_api_url=str(prefect.base_url).rstrip("/"),
        database_url=empty,
        pool=theirs,
        minio_endpoint_url=minio_server.endpoint_url,
        minio_access_key=minio_server.access_key,
        minio_secret_key=minio_server.secret_key,
        webhook_tokens="one,two",
    )
    said: list[str] = []
    try:
        await plan(settings, said.append)
        with psycopg.connect(empty) as connection:
            schemas = connection.execute(
                "select 1 from pg_namespace where nspname = 'quicksilver'"
            ).fetchall()
    finally:
        stack_postgres.drop_database("planned")
    text = "\n".join(said)
    assert schemas == []
    assert everything(prefect) == before
    assert not minio_client(settings).bucket_exists("beside")
    assert "mc mb --ignore-existing lake/beside" in text
    assert "arn:minio:sqs::QUICKSILVER_DURABLE:webhook --event put,delete --prefix sales/" in text
    assert "deployment flows/load_sales.py:load_sales / beside in work pool theirs" in text
    assert '"s3:ListBucket"' in text
    assert minio_server.secret_key not in text
    assert load_datasets(project / "datasets.yaml").datasets


async def test_a_deployment_that_is_gone_is_made_again(
    project: Path, prefect: httpx.Client, ledger_url: str
) -> None:
    environment = {
        "PREFECT_API_URL": str(prefect.base_url).rstrip("/"),
        "PREFECT_API_AUTH_STRING": os.environ["PREFECT_API_AUTH_STRING"],
        "QUICKSILVER_DATABASE_URL": ledger_url,
        "QUICKSILVER_POOL": "default",
    }
    await asyncio.to_thread(initialise_again, environment)
    first = everything(prefect)["beside"]["id"]
    await asyncio.to_thread(initialise_again, environment)
    assert everything(prefect)["beside"]["id"] == first
    drop(prefect, f"/deployments/{first}")
    await asyncio.to_thread(initialise_again, environment)
    again = everything(prefect)["beside"]["id"]
    assert again != first
    drop(prefect, f"/deployments/{again}")
