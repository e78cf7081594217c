"""What `serve`, `init` and `doctor` say where the surroundings are not as they should be."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from typer.testing import CliRunner

from quicksilver.app import create_app, running
from quicksilver.cli import serve
from quicksilver.cli.main import app
from quicksilver.errors import QuicksilverError, SettingsError
from quicksilver.operators import setup
from quicksilver.settings import Settings, load_settings
from quicksilver.stack.ports import LOOPBACK, choose_port
from tests.support.servers import MinioServer
from tests.support.serving import Served, receiver_settings, serving

_ROLES = ["dispatcher", "sweep", "dispatcher,receiver"]


async def test_a_port_that_is_taken_is_one_sentence(
    ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of this process's memory, the tests' own.
    monkeypatch.setattr(serve, "keep_out_of_collections", lambda: None)
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(QuicksilverError) as refused:
            await serve.serve_until_stopped(receiver_settings(ledger_url, port=port))
    assert str(refused.value) == (
        f"the service cannot listen on {LOOPBACK}:{port}: is another one running?"
        " set QUICKSILVER_PORT"
    )


@pytest.mark.parametrize("roles", _ROLES)
@pytest.mark.parametrize(
    ("missing", "name"),
    [("minio_access_key", "MINIO_ACCESS_KEY"), ("minio_secret_key", "MINIO_SECRET_KEY")],
)
async def test_who_lists_bronze_does_not_start_without_its_credentials(
    roles: str, missing: str, name: str
) -> None:
    database = f"postgresql://nobody@{LOOPBACK}:{choose_port(None)}/nothing"
    settings = receiver_settings(database, roles=roles, warehouse_url=database, **{missing: ""})
    with pytest.raises(SettingsError, match=f"^{name} is not set"):
        async with running(create_app(settings)):
            pytest.fail("it started")


@pytest.fixture
def without_lake(ledger_url: str) -> Iterator[Served]:
    """A receiver alone, which needs no credentials of the lake until it is asked to list it."""
    with serving(ledger_url, minio_access_key="", operator_tokens="") as running:
        yield running


def test_a_setting_that_a_request_misses_is_503_with_its_sentence(without_lake: Served) -> None:
    client = without_lake.client
    answer = client.request("POST", "/api/reconcile")
    assert answer.status == 503
    assert answer.json["detail"].startswith("MINIO_ACCESS_KEY is not set: set it in")
    page = client.request("GET", "/reconcile")
    form = urlencode({"csrf": page.text.split('name="csrf" value="')[1].split('"')[0]}).encode()
    cookie = page.headers["set-cookie"].partition(";")[0]
    done = client.request("POST", "/reconcile", form, Cookie=cookie)
    assert done.status == 503
    assert "MINIO_ACCESS_KEY is not set: set it in" in done.text


def test_doctor_reports_refused_settings_as_its_first_link(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("QUICKSILVER_PORT", "0")
    done = CliRunner().invoke(app, ["doctor", "--json"])
    assert done.exit_code == 1
    first, *others = json.loads(done.stdout)
    assert (first["link"], first["status"]) == ("settings", "broken")
    assert first["found"].startswith("QUICKSILVER_PORT: ")
    assert first["fix"]
    assert len(others) == 21
    assert {(each["status"], each["found"]) for each in others} == {("skipped", "needs settings")}
    shown = CliRunner().invoke(app, ["doctor"])
    assert shown.exit_code == 1
    assert "QUICKSILVER_PORT" in shown.stdout


async def test_all_of_init_speaks_to_the_settings_prefect(
    prefect_api: str,
    ledger_url: str,
    warehouse_url: str,
    minio_server: MinioServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where the environment names another; and MinIO's lanes come last."""
    deployed: list[str] = []

    async def deploy_all(settings: Settings) -> list[str]:
        deployed.append(settings.prefect_api_url)
        return ["deployments"]

    monkeypatch.setattr(setup, "deploy_all", deploy_all)
    nobody = f"http://{LOOPBACK}:{choose_port(None)}"
    settings = load_settings(
        database_url=ledger_url,
        warehouse_url=warehouse_url,
        prefect_api_url=prefect_api,
        warehouse_block="start-test-warehouse",
        notify_by="prefect",
        notify_webhook_url="http://nobody.example/hook",
        minio_endpoint_url=nobody,
        minio_access_key=minio_server.access_key,
        minio_secret_key=minio_server.secret_key,
        webhook_tokens="one",
    )
    said: list[str] = []
    with (
        temporary_settings({PREFECT_API_URL: f"{nobody}/api"}),
        pytest.raises(QuicksilverError, match="does not answer"),
    ):
        await setup.initialise(settings, said.append)
    assert deployed == [prefect_api]
    assert said[-1].startswith("automation 'quicksilver: an alert was raised'")
    assert "block quicksilver-warehouse/start-test-warehouse: saved" in said
    async with get_client() as client:
        await client.read_block_document_by_name("start-test-warehouse", "quicksilver-warehouse")
        for automation in await client.read_automations_by_name("quicksilver: an alert was raised"):
            await client.delete_automation(automation.id)
