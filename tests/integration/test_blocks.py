"""Credentials as Prefect's blocks, on a real server: found by flow runs, shown to nobody."""

import asyncio
import io
import os
from pathlib import Path

import httpx
import pytest
from prefect import flow, get_run_logger
from prefect.context import FlowRunContext

from quicksilver.errors import SettingsError
from quicksilver.flows.context import opened
from quicksilver.lake.bronze import minio_client
from quicksilver.orchestrator.blocks import register_blocks, settings_of_run
from quicksilver.settings import load_settings
from quicksilver.support.prefect_http import prefect_auth
from quicksilver.warehouse.connection import Warehouse
from tests.support.servers import MinioServer
from tests.support.waiting import until


@flow(name="blocks-test")
async def reads_bronze_and_warehouse(bucket: str) -> str:
    """What every flow does: connect to both, and say so."""
    async with opened() as lake:
        listing = await lake.bronze.list_folder(bucket, "")
        async with Warehouse(lake.settings).connect() as connection:
            await connection.execute("select 1")
        get_run_logger().info("%d objects; %r", len(listing), lake.settings)
    context = FlowRunContext.get()
    assert context is not None
    assert context.flow_run is not None
    return str(context.flow_run.id)


@pytest.fixture
def environment(
    prefect_api: str, ledger_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A worker's: it names blocks, and has no credentials of lake and warehouse."""
    monkeypatch.setenv("QUICKSILVER_DATABASE_URL", ledger_url)
    monkeypatch.setenv("QUICKSILVER_HOME", str(tmp_path))
    monkeypatch.setenv("QUICKSILVER_LAKE_BLOCK", "blocks-test-lake")
    monkeypatch.setenv("QUICKSILVER_WAREHOUSE_BLOCK", "blocks-test-warehouse")


async def test_flow_runs_connect_by_blocks_and_tell_no_secret(
    environment: None, prefect_api: str, minio_server: MinioServer, warehouse_url: str
) -> None:
    # Where `init` runs, the credentials are in the environment.
    told = load_settings(
        minio_endpoint_url=minio_server.endpoint_url,
        minio_access_key=minio_server.access_key,
        minio_secret_key=minio_server.secret_key,
        warehouse_url=warehouse_url,
    )
    lines = await register_blocks(told)
    assert lines == await register_blocks(told)
    assert lines[1:] == [
        "block quicksilver-lake/blocks-test-lake: saved",
        "block quicksilver-warehouse/blocks-test-warehouse: saved",
    ]
    # Without credentials nothing is overwritten.
    assert len(await register_blocks(load_settings())) == 1
    lake = minio_client(told)
    lake.make_bucket("blocks-test")
    lake.put_object("blocks-test", "an object", io.BytesIO(b"x"), 1)

    run = await reads_bronze_and_warehouse("blocks-test")

    secrets = [minio_server.secret_key, warehouse_url]
    shown = await asyncio.to_thread(_shown, prefect_api, run)
    assert "blocks-test" in shown
    assert not [secret for secret in secrets if secret in shown]
    assert warehouse_url.split(":")[2].split("@")[0] not in shown, "nor the password by itself"


def _shown(api: str, run: str) -> str:
    """What Prefect shows of a run, of its log and of both blocks."""
    with httpx.Client(
        base_url=api, trust_env=False, timeout=30, auth=prefect_auth(os.environ)
    ) as client:

        def logged() -> str | None:
            body = {"logs": {"flow_run_id": {"any_": [run]}}}
            text = client.post("/logs/filter", json=body).text
            return text if "1 objects" in text else None

        shown = until(logged, "the run's log") + client.get(f"/flow_runs/{run}").text
        for kind in ("lake", "warehouse"):
            found = client.get(
                f"/block_types/slug/quicksilver-{kind}/block_documents/name/blocks-test-{kind}"
            )
            assert found.status_code == 200
            shown += found.text
        return shown


async def test_a_block_that_is_not_there_is_one_sentence(
    environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUICKSILVER_LAKE_BLOCK", "nobody-made-it")
    with pytest.raises(SettingsError) as caught:
        await settings_of_run()
    assert str(caught.value) == (
        "QUICKSILVER_LAKE_BLOCK: Prefect has no block 'nobody-made-it' of the type"
        " 'quicksilver-lake' that can be read: make it on Prefect's page, or call"
        " `quicksilver init` where the credentials are in the environment"
    )
