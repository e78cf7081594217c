"""The servers that the other tests stand on."""

import os

import httpx
import psycopg
from minio import Minio

from quicksilver.support.prefect_http import prefect_auth
from tests.support.servers import MinioServer, Postgres


def test_a_ledger_has_its_schema(ledger_url: str) -> None:
    with psycopg.connect(ledger_url) as connection:
        found = connection.execute("select count(*) from quicksilver.migration").fetchone()
    assert found is not None
    assert found[0] >= 1


def test_two_warehouses_share_nothing(stack_postgres: Postgres, warehouse_url: str) -> None:
    with psycopg.connect(warehouse_url) as connection:
        connection.execute("create schema silver")
        connection.execute("create table silver.t as select 1 as one")
    other = stack_postgres.create_database("another", "warehouse")
    with psycopg.connect(other) as connection:
        found = connection.execute("select to_regclass('silver.t')").fetchone()
    stack_postgres.drop_database("another")
    assert found == (None,)


def test_minio_takes_an_object(minio_server: MinioServer) -> None:
    client = Minio(
        minio_server.endpoint_url.removeprefix("http://"),
        minio_server.access_key,
        minio_server.secret_key,
        secure=False,
    )
    client.make_bucket("fixture")
    assert "fixture" in [bucket.name for bucket in client.list_buckets()]


def test_prefect_has_the_pool(prefect_api: str) -> None:
    assert os.environ["PREFECT_API_URL"] == prefect_api
    auth = prefect_auth(os.environ)
    pool = httpx.get(f"{prefect_api}/work_pools/default", trust_env=False, auth=auth).json()
    assert pool["type"] == "process"
    assert "variables" in pool["base_job_template"]


async def test_the_client_reaches_it(prefect_api: str) -> None:
    from prefect.client.orchestration import get_client

    async with get_client() as client:
        assert await client.api_healthcheck() is None
        assert str(client.api_url).rstrip("/") == prefect_api
