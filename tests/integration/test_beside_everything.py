"""Beside other people's bucket rules, schemas and pool: set up, built, set up anew, built again."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import httpx
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from minio import Minio
from minio.commonconfig import ENABLED, Filter, Tags
from minio.lifecycleconfig import Expiration, LifecycleConfig, Rule
from minio.notificationconfig import NotificationConfig, PrefixFilterRule, QueueConfig
from minio.versioningconfig import VersioningConfig
from prefect.workers.process import ProcessWorker

from quicksilver.build.partition import build_partition
from quicksilver.domain.datasets import Datasets
from quicksilver.domain.manifest import ManifestFile
from quicksilver.lake.bronze import minio_client
from quicksilver.lake.targets import minio_admin
from quicksilver.operators.setup import initialise
from quicksilver.settings import Settings, load_settings
from quicksilver.support.prefect_http import prefect_auth
from tests.integration.test_lanes import listening
from tests.support.minio import minio_running
from tests.support.own_project import own_project
from tests.support.waiting import until

DECLARED = """
datasets:
  shop.orders:
    bucket: beside
    key: orders/dt={dt}/{file}
    deployment: load/prod
    bronze_table: bronze.shop_orders
    columns: {id: {kind: integer, required: true}}
"""
PREFECT = """
name: shop
deployments:
  - name: prod
    entrypoint: flows/load.py:load
    work_pool: {name: theirs}
"""
FLOW = """
from prefect import flow

@flow
def load(dataset: str, dt: str) -> None:
    pass
"""
MODELS = {
    "staging/sources.yml": "sources: [{name: bronze, tables: [{name: shop_orders}]}]",
    "silver/orders.sql": "select id, dt from {{ source('bronze', 'shop_orders') }}",
    "silver/models.yml": (
        "models: [{name: orders, columns: [{name: id, data_type: bigint},"
        " {name: dt, data_type: date}]}]"
    ),
}
THEIRS = (
    "create schema build; create table build.releases as"
    " select n as id from generate_series(1, 1000) as n;"
    " create table build.orders__1 (id int); comment on schema build is 'theirs';"
    " create schema bronze; create table bronze.orders (id int);"
    " create schema silver; create table silver.names (id int); insert into silver.names values (7)"
)


@pytest.fixture
def declared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Datasets]:
    with own_project(tmp_path, monkeypatch, DECLARED, MODELS) as datasets:
        (tmp_path / "prefect.yaml").write_text(PREFECT)
        (tmp_path / "flows").mkdir()
        (tmp_path / "flows" / "load.py").write_text(FLOW)
        yield datasets


@pytest.fixture
def prefect(prefect_api: str) -> Iterator[httpx.Client]:
    """Prefect's API, with a pool that is theirs."""
    with httpx.Client(
        base_url=prefect_api, timeout=30, trust_env=False, auth=prefect_auth(os.environ)
    ) as client:
        template: Any = ProcessWorker.get_default_base_job_template()
        body = {"name": "theirs", "type": "process", "base_job_template": template}
        client.post("/work_pools/", json=body).raise_for_status()
        yield client
        client.delete("/work_pools/theirs")


def _lake(client: Minio) -> dict[str, Any]:
    """What is set of their buckets, as far as it is none of ours."""
    found: dict[str, Any] = {}
    for bucket in ("beside", "elsewhere"):
        rules = client.get_bucket_notification(bucket).queue_config_list
        lifecycle = client.get_bucket_lifecycle(bucket)
        tags = client.get_bucket_tags(bucket)
        found[bucket] = (
            sorted(
                (str(r.config_id), r.queue, sorted(r.events), _prefix(r))
                for r in rules
                if "QUICKSILVER" not in (r.queue or "")
            ),
            [(r.rule_id, r.expiration.days) for r in lifecycle.rules if r.expiration]
            if lifecycle
            else [],
            dict(tags or {}),
            client.get_bucket_versioning(bucket).status,
            json.loads(client.get_bucket_policy(bucket)),
            [
                (o.object_name, o.etag)
                for o in client.list_objects(bucket, prefix="theirs/", recursive=True)
            ],
        )
    return found


def _prefix(rule: QueueConfig) -> str:
    return str(rule.prefix_filter_rule.value) if rule.prefix_filter_rule else ""


def _own_buckets(settings: Settings, endpoint: str) -> Minio:
    """Two buckets that somebody has set up: rules, expiry, tags, versions, a policy, an object."""
    client = minio_client(settings)
    admin = minio_admin(settings)
    admin.config_set("notify_webhook:THEIRS", {"endpoint": f'"{endpoint}/theirs"'})
    admin.service_restart()
    for bucket in ("beside", "elsewhere"):
        rule = QueueConfig(
            queue="arn:minio:sqs::THEIRS:webhook",
            events=["s3:ObjectCreated:*"],
            config_id="theirs",
            prefix_filter_rule=PrefixFilterRule("theirs/"),
        )

        def takes(bucket: str = bucket, rule: QueueConfig = rule) -> bool:
            if not client.bucket_exists(bucket):
                client.make_bucket(bucket)
            client.set_bucket_notification(bucket, NotificationConfig(queue_config_list=[rule]))
            return True

        # MinIO comes back with the target in its own time.
        until(takes, "their rule", despite=(Exception,))
        client.set_bucket_lifecycle(
            bucket,
            LifecycleConfig(
                [
                    Rule(
                        ENABLED,
                        rule_filter=Filter(prefix="theirs/"),
                        rule_id="their-expiry",
                        expiration=Expiration(days=9),
                    )
                ]
            ),
        )
        tags = Tags.new_bucket_tags()
        tags["owner"] = "them"
        client.set_bucket_tags(bucket, tags)
        client.set_bucket_versioning(bucket, VersioningConfig(ENABLED))
        statement = {
            "Effect": "Allow",
            "Principal": {"AWS": ["*"]},
            "Action": ["s3:GetObject"],
            "Resource": [f"arn:aws:s3:::{bucket}/theirs/*"],
        }
        policy = {"Version": "2012-10-17", "Statement": [statement]}
        client.set_bucket_policy(bucket, json.dumps(policy))
        client.put_object(bucket, "theirs/a.txt", BytesIO(b"theirs"), 6)
    return client


def _warehouse(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Rows, columns and comments of what is theirs."""
    with psycopg.connect(url) as connection:
        names = ("build.releases", "build.orders__1", "bronze.orders", "silver.names")
        found = {
            name: connection.execute(
                cast("Any", f"select t::text from {name} as t order by 1")
            ).fetchall()
            for name in names
        }
        found["columns"] = connection.execute(
            "select attrelid::regclass::text, attname, atttypid from pg_attribute"
            " where attrelid = any(%s::text[]::regclass[]) and attnum > 0 order by 1, attnum",
            (list(names),),
        ).fetchall()
        found["comment"] = connection.execute(
            "select obj_description('build'::regnamespace)"
        ).fetchall()
    return found


def _pool(client: httpx.Client) -> Any:
    pool = client.get("/work_pools/theirs").raise_for_status().json()
    return {k: v for k, v in pool.items() if k not in ("updated", "status")}


def _put(client: Minio, *ids: int) -> ManifestFile:
    sink = BytesIO()
    pq.write_table(pa.table({"id": pa.array(ids, pa.int64())}), sink)
    body, key = sink.getvalue(), "orders/dt=2024-01-01/data.parquet"
    done = client.put_object("beside", key, BytesIO(body), len(body))
    assert done.etag is not None
    return ManifestFile(key, done.etag.strip('"'), done.version_id, len(body))


async def test_everything_of_theirs_stays_as_it_was(
    declared: Datasets,
    prefect: httpx.Client,
    ledger_url: str,
    warehouse_url: str,
    tmp_path: Path,
) -> None:
    with psycopg.connect(warehouse_url, autocommit=True) as connection:
        connection.execute(cast("Any", THEIRS))
    (tmp_path / "lake").mkdir()
    with minio_running(tmp_path / "lake") as running, listening() as receiver:
        client = _own_buckets(running, receiver.url)
        settings = load_settings(
            prefect_api_url=str(prefect.base_url).rstrip("/"),
            database_url=ledger_url,
            warehouse_url=warehouse_url,
            pool="theirs",
            webhook_tokens="one",
            minio_endpoint_url=running.minio_endpoint_url,
            minio_access_key=running.minio_access_key,
            minio_secret_key=running.minio_secret_key,
        )
        before = _lake(client), _warehouse(warehouse_url), _pool(prefect)
        dataset = declared.get("shop.orders")
        for build in (1, 2):
            # The second time is an upgrade's: what is in place is looked at, and cleaned up after.
            await initialise(settings, lambda _: None, receiver_url=receiver.url)
            listed = _put(client, *range(build))
            built = await build_partition(settings, dataset, "2024-01-01", build, build, [listed])
            assert built.rows_silver == build
        assert (_lake(client), _warehouse(warehouse_url), _pool(prefect)) == before
        ours = client.get_bucket_notification("beside").queue_config_list
        assert any("QUICKSILVER" in (rule.queue or "") for rule in ours)
        elsewhere = client.get_bucket_notification("elsewhere").queue_config_list
        assert [rule.config_id for rule in elsewhere] == ["theirs"]
        # Their rule works on.
        client.put_object("beside", "theirs/b.txt", BytesIO(b"more"), 4)
        until(lambda: any(path == "/theirs" for path, _ in receiver.heard), "their own event")
