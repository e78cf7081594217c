"""The production stack: its files by the rules, and its commands by running them."""

import re
import ssl
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import httpx
import psycopg
import pyarrow.parquet as pq
import pytest
from minio import Minio
from psycopg.rows import dict_row

from quicksilver.flows.nyc_tlc.generated import generate_month
from quicksilver.settings import Settings
from quicksilver.stack import EmbeddedStack
from quicksilver.stack.postgres import BINARIES
from quicksilver.support.http import local_http_client
from tests.support.checkout import PROJECT
from tests.support.production_stage import COMPOSE, ProductionStage, load
from tests.support.servers import HOMES
from tests.support.waiting import until

STACK = load(COMPOSE / "compose.yaml")
SERVICES: dict[str, dict[str, Any]] = STACK["services"]
# They run to an end: nobody asks whether they are healthy.
STEPS = {name for name, service in SERVICES.items() if service["restart"] != "unless-stopped"}
DATASET = "nyc_tlc.yellow_tripdata"


def by_schema(schema: str, *files: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema),
            *map(str, files),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_files_are_what_the_compose_specification_says(tmp_path: Path) -> None:
    plain = tmp_path / "dev.yaml"
    # The tags that tell compose how to merge are not of the schema's world.
    plain.write_text((COMPOSE / "dev.yaml").read_text().replace("!override", ""))
    by_schema("vendor.compose-spec", COMPOSE / "compose.yaml", plain)


def test_the_workflow_is_what_github_says() -> None:
    files = sorted((PROJECT / ".github" / "workflows").glob("*.yaml"))
    assert files
    by_schema("vendor.github-workflows", *files)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_hardened(name: str) -> None:
    service = SERVICES[name]
    tag = service["image"].rpartition(":")[2]
    assert re.match(r"v?\d+\.\d+", tag), f"{service['image']} is not pinned by version"
    assert re.fullmatch(r"\d+:\d+", service["user"]), "a number: no image can turn it into root"
    assert service["user"].split(":")[0] != "0"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"cpus", "memory", "pids"} <= set(service["deploy"]["resources"]["limits"])
    assert "privileged" not in service
    assert service["logging"]["options"]["max-size"]
    if name not in STEPS:
        assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")


def test_no_secret_stands_in_a_file_or_an_environment() -> None:
    for name, service in SERVICES.items():
        for key, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|SECRET|TOKEN|ACCESS_KEY", key):
                assert str(value).startswith("/run/secrets/"), f"{name}: {key}"
    for file in (COMPOSE / "settings").glob("*.env"):
        for line in file.read_text().splitlines():
            assert line.startswith("#") or not re.search(r"PASSWORD|TOKEN|KEY|@", line), line


def test_secrets_and_volumes_and_networks_are_declared_and_used() -> None:
    used: set[str] = set()
    for service in SERVICES.values():
        for secret in service.get("secrets", []):
            used.add(secret if isinstance(secret, str) else secret["source"])
    assert used == set(STACK["secrets"])
    named = {
        volume.partition(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
        if not volume.startswith(".")
    }
    assert named == set(STACK["volumes"])
    mounted = {
        volume.partition(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
        if volume.startswith(".")
    }
    assert [path for path in mounted if not (COMPOSE / path).exists()] == []


def test_only_the_proxy_is_reached_from_outside() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["proxy"]
    assert STACK["networks"]["inner"] == {"internal": True}
    outside = {name for name, service in SERVICES.items() if "outer" in service["networks"]}
    assert outside == {"proxy", "receiver-1", "receiver-2", "dispatcher", "worker"}


def test_every_variable_of_the_service_is_one_that_it_knows() -> None:
    known = {field.alias for field in Settings.model_fields.values()}
    known |= {"QUICKSILVER_SECRETS_DIR", "READER_ACCESS_KEY", "READER_SECRET_KEY"}
    known |= {"WRITER_ACCESS_KEY", "WRITER_SECRET_KEY"}
    for name, service in SERVICES.items():
        if "quicksilver:" not in service["image"]:
            continue
        names = set(service.get("environment", {}))
        names |= {s["target"] for s in service.get("secrets", []) if isinstance(s, dict)}
        for file in service.get("env_file", []):
            lines = (COMPOSE / file).read_text().splitlines()
            names |= {line.partition("=")[0] for line in lines if line and line[0] != "#"}
        foreign = ("PREFECT_", "DBT_", "DO_NOT_TRACK")
        assert {n for n in names if not n.startswith(foreign)} <= known, name


def test_dependencies_are_there_and_lead_nowhere_in_a_circle() -> None:
    seen: list[str] = []

    def visit(name: str, path: tuple[str, ...] = ()) -> None:
        assert name not in path, f"{name} waits for itself: {path}"
        for needed, how in SERVICES[name].get("depends_on", {}).items():
            if how["condition"] == "service_completed_successfully":
                assert needed in STEPS
            visit(needed, (*path, name))
        seen.append(name)

    for name in SERVICES:
        visit(name)
    for name, service in load(COMPOSE / "dev.yaml")["services"].items():
        assert name in SERVICES
        assert set(service.get("depends_on", {})) <= set(SERVICES)


def test_dev_needs_nothing_that_it_leaves_out() -> None:
    dev = load(COMPOSE / "dev.yaml")["services"]
    out = {name for name, service in dev.items() if "profiles" in service}
    for name, service in SERVICES.items():
        if name in out or "profiles" in service:
            continue
        needs = set(dev.get(name, {}).get("depends_on", service.get("depends_on", {})))
        assert not needs & out, f"{name} waits for {needs & out}"


def test_the_image_installs_what_the_tests_ran_with() -> None:
    def versions(path: Path) -> dict[str, str]:
        return dict(re.findall(r"^([\w.-]+)==(\S+)", path.read_text(), re.M))

    ours, images = versions(PROJECT / "requirements.lock"), versions(COMPOSE / "requirements.lock")
    assert images.items() <= ours.items()
    assert {"prefect", "prefect-redis", "dbt-postgres"} <= set(images)
    assert not {"pytest", "moto", "playwright"} & set(images)
    dockerfile = (COMPOSE / "Dockerfile").read_text()
    from quicksilver.stack.minio import MINIO

    assert f"{MINIO.package}@{MINIO.version}" in dockerfile
    for image in re.findall(r"^FROM (\S+)", dockerfile, re.M):
        assert re.search(r":\d+\.\d+", image), f"{image} is not pinned"
    copied = {
        path
        for line in re.findall(r"^COPY (?!--from)(.+(?:\\\n.+)?)", dockerfile, re.M)
        for path in line.replace("\\\n", " ").split()[:-1]
    }
    assert [path for path in copied if not list(PROJECT.glob(path))] == []


def test_postgres_knows_its_flags(stack_postgres: Any) -> None:
    data = stack_postgres.home.folder / "postgres" / "data"
    flags = SERVICES["postgres"]["command"][1:]
    for flag in flags:
        name, _, value = flag.removeprefix("--").partition("=")
        done = subprocess.run(
            [str(BINARIES / "postgres"), "-C", name.replace("-", "_"), "-D", str(data), *flags],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == value.strip() or value[:1].isdigit(), flag


@pytest.mark.parametrize(
    "file", sorted((COMPOSE / "caddy").glob("tls-*.caddy")), ids=lambda f: f.stem
)
def test_caddy_reads_each_way_of_certificates(file: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        ["caddy", "adapt", "--config", str(COMPOSE / "caddy" / "Caddyfile"), "--validate"],
        env={
            "PATH": str(Path(sys.executable).parent),
            "HOME": str(tmp_path),
            "TLS_FILE": str(_with_certificates(file, tmp_path)),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Caddyfile input is not formatted" not in done.stderr
    if "mutual" in file.name:
        assert '"require_and_verify"' in done.stdout


def _with_certificates(file: Path, folder: Path) -> Path:
    """The file, its certificates in a folder that is here."""
    from cryptography.hazmat.primitives import serialization as s

    from tests.unit.test_sns import KEY, certificate

    pem = KEY.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())
    (folder / "site.key").write_bytes(pem)
    for name in ("site.crt", "clients-ca.crt"):
        (folder / name).write_bytes(certificate())
    local = folder / file.name
    local.write_text(file.read_text().replace("/etc/caddy/certificates", str(folder)))
    return local


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProductionStage]:
    folder = tmp_path_factory.mktemp("production")
    with EmbeddedStack(HOMES / "production", parts={"postgres"}, ports=None) as postgres:
        # As `--scale prefect-api=2` makes it.
        services = {**SERVICES, "prefect-api-2": SERVICES["prefect-api"]}
        stage = ProductionStage(folder, postgres, services)
        stage.programs()
        stage.databases()
        try:
            yield stage
        finally:
            stage.stop()


# A dozen servers start: under a minute on an idle machine, more than a test may take on a busy one.
@pytest.mark.timeout(600)
def test_every_command_runs_and_an_object_becomes_silver(stage: ProductionStage) -> None:
    """In the order that `depends_on` asks for, side by side where it leaves a choice."""
    for name in ("valkey", "minio"):
        stage.start(name)
    stage.start("prefect-migrate")
    for name in ("valkey", "minio"):
        stage.healthy(name)
    stage.start("minio-users")
    stage.finish("prefect-migrate")
    stage.finish("minio-users")
    for name in ("prefect-api", "prefect-services"):
        stage.start(name)
    stage.healthy("prefect-api")
    assert _prefect(stage, "GET", "/work_pools/default", auth=False).status_code == 401
    stage.start("prepare")
    stage.finish("prepare")
    for name in ("receiver-1", "receiver-2", "dispatcher", "worker", "proxy"):
        stage.start(name)
    for name in ("receiver-1", "receiver-2", "dispatcher", "proxy"):
        stage.healthy(name)
    stage.start("lanes")
    stage.healthy("worker")
    stage.healthy("prefect-services")
    stage.finish("lanes")
    # A run that comes before would rather begin the stock way.
    until(lambda: ", serving " in stage.log("worker"), "the warm engine", within=120)

    _put_month(stage, 2020, 1)
    row = _built(stage, "2020-01-01", 1)
    assert row["error"] is None
    assert row["rows_bronze"] == row["rows_silver"] + row["rows_rejected"] == 300
    engine_log = stage.log("worker")
    assert "no warm engine" not in engine_log, engine_log

    _two_prefect_servers(stage)

    # One receiver gone: MinIO's events go through the other, operators notice nothing.
    gone = stage.running["receiver-1"]
    gone.terminate()
    gone.wait(20)
    _put_month(stage, 2020, 2)
    _built(stage, "2020-02-01", 1)
    del stage.running["receiver-1"]

    assert _outside(stage, "/metrics").status_code == 404, "not through the proxy"
    assert _outside(stage, "/healthz").headers["strict-transport-security"]
    assert "server" not in _outside(stage, "/healthz").headers
    assert _outside(stage, "/api/partitions").status_code == 401
    scraper = {"authorization": f"Bearer {stage.secret('metrics_token')}"}
    assert _outside(stage, "/api/partitions", **scraper).status_code == 401
    for name in ("receiver-2", "dispatcher"):
        address = f"http://127.0.0.1:{stage.ports[name]}/metrics"
        assert local_http_client().get(address, headers=scraper).status_code == 200, name
    until(lambda: _scheduled(stage), "runs of the daily schedule")
    for name in ("prefect-api", "prefect-api-2", "prefect-services", "dispatcher"):
        assert "Traceback" not in stage.log(name), stage.log(name)
    for name in list(stage.running):
        assert stage.running[name].poll() is None, f"{name} has ended:\n{stage.log(name)}"
    _no_secret_in_the_logs(stage)


def _scheduled(stage: ProductionStage) -> int:
    """How many runs Prefect's background services have planned."""
    body = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
    return _prefect(stage, "POST", "/flow_runs/count", body).json()


def _two_prefect_servers(stage: ProductionStage) -> None:
    """What one of two API servers is told, the other knows: over Postgres and Valkey."""
    stage.start("prefect-api-2")
    stage.healthy("prefect-api-2")
    name = "/deployments/name/silver-build/nyc-tlc"
    deployment = _prefect(stage, "GET", name, server="prefect-api-2").json()["id"]
    parameters = {"dataset": DATASET, "dt": "2020-01-01"}
    create, body = f"/deployments/{deployment}/create_flow_run", {"parameters": parameters}
    run = _prefect(stage, "POST", create, body, server="prefect-api-2").json()["id"]

    def ended(run: str, server: str) -> bool:
        state = _prefect(stage, "GET", f"/flow_runs/{run}", server=server).json()["state"]
        return state["type"] == "COMPLETED"

    # The worker asks the first for work, and gets what the second was told of.
    until(lambda: ended(run, "prefect-api-2"), "the run that the second server made")

    # An automation made at the second; an event at the first; the background services fire.
    automation = {
        "name": "across servers",
        "trigger": {
            "type": "event",
            "posture": "Reactive",
            "threshold": 1,
            "within": 0,
            "expect": ["quicksilver.test.across"],
        },
        "actions": [
            {
                "type": "run-deployment",
                "source": "selected",
                "deployment_id": deployment,
                "parameters": parameters,
            }
        ],
    }
    _prefect(stage, "POST", "/automations/", automation, server="prefect-api-2").raise_for_status()
    fired = {"deployments": {"id": {"any_": [deployment]}}}

    def happened() -> list[dict[str, Any]]:
        event = {
            "id": str(uuid4()),
            "occurred": datetime.now(UTC).isoformat(),
            "event": "quicksilver.test.across",
            "resource": {"prefect.resource.id": "quicksilver.test"},
        }
        # Told again: the automation may not have reached the services yet.
        _prefect(stage, "POST", "/events", [event]).raise_for_status()
        answer = _prefect(stage, "POST", "/flow_runs/filter", fired, server="prefect-api-2")
        return [
            run for run in answer.json() if (run["created_by"] or {}).get("type") == "AUTOMATION"
        ]

    (caused, *_) = until(happened, "the run that the automation makes", every=1)
    until(lambda: ended(caused["id"], "prefect-api"), "the automation's run")


def _prefect(
    stage: ProductionStage,
    method: str,
    path: str,
    body: Any = None,
    *,
    auth: bool = True,
    server: str = "prefect-api",
) -> httpx.Response:
    who = stage.secret("prefect_auth").partition(":")
    return local_http_client().request(
        method,
        f"http://127.0.0.1:{stage.ports[server]}/api{path}",
        auth=(who[0], who[2]) if auth else None,
        json=body,
        timeout=20,
    )


def _put_month(stage: ProductionStage, year: int, month: int) -> None:
    body = BytesIO()
    pq.write_table(generate_month(year, month, 300, 0), body)
    lake = Minio(
        f"127.0.0.1:{stage.ports['minio']}",
        stage.secret("writer_access_key"),
        stage.secret("writer_secret_key"),
        secure=False,
    )
    key = f"bronze/nyc_tlc/yellow_tripdata/dt={year}-{month:02d}-01/data.parquet"
    body.seek(0)
    lake.put_object("datasets", key, body, len(body.getvalue()))


def _outside(stage: ProductionStage, path: str, **headers: str) -> httpx.Response:
    """GET over TLS, the certificate checked, as from outside."""
    root = stage.folder / "proxy" / "data" / "caddy" / "pki" / "authorities" / "local" / "root.crt"
    site = "quicksilver.localhost"
    context = ssl.create_default_context(cafile=str(root))
    with httpx.Client(verify=context, trust_env=False, timeout=20) as client:
        return client.get(
            f"https://127.0.0.1:{stage.ports['proxy-https']}{path}",
            headers={"host": site, **headers},
            extensions={"sni_hostname": site},
        )


def _built(stage: ProductionStage, dt: str, generation: int) -> dict[str, Any]:
    token = stage.secret("operator_tokens").partition(",")[0]

    def ask() -> dict[str, Any] | None:
        path = f"/api/partitions/{DATASET}/{dt}"
        answer = _outside(stage, path, authorization=f"Bearer {token}")
        if answer.status_code == 404:
            return None
        row: dict[str, Any] = answer.raise_for_status().json()
        assert row["state"] != "failed", f"{row}\n{stage.log('worker')}"
        return row if row["built_generation"] >= generation else None

    try:
        until(ask, f"silver of {dt}", within=90, every=0.2)
    except AssertionError as error:
        logs = "\n".join(f"== {name}\n{stage.log(name)}" for name in ("dispatcher", "worker"))
        raise AssertionError(f"{error}\n{logs}") from None
    with psycopg.connect(stage.secret("ledger_url"), row_factory=cast("Any", dict_row)) as ledger:
        row = ledger.execute("select * from quicksilver.partition where dt = %s", (dt,)).fetchone()
    assert row is not None
    return cast("dict[str, Any]", row)


def _no_secret_in_the_logs(stage: ProductionStage) -> None:
    for path in (stage.folder / "compose" / "secrets").iterdir():
        if path.name.endswith(("_access_key", ".gitignore")):
            continue
        for secret in re.split(r"[,\s]", path.read_text()):
            if len(secret) < 16:
                continue
            for name in SERVICES:
                log = stage.folder / f"{name}.log"
                if log.exists():
                    assert secret not in log.read_text(errors="replace"), (name, path.name)
