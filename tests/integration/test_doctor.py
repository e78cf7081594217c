"""`quicksilver doctor`: each link of a real chain is broken in turn, and exactly it is found."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Callable, Coroutine, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar
from uuid import uuid4

import httpx
import psycopg
import pytest
from minio.notificationconfig import NotificationConfig
from pydantic import SecretStr

from quicksilver.build import dbt_project
from quicksilver.domain.datasets import load_datasets
from quicksilver.lake.bronze import minio_client
from quicksilver.lake.rules import wanted_rules
from quicksilver.lake.targets import minio_admin
from quicksilver.operators.check.finding import Level
from quicksilver.operators.check.lake import check_lake
from quicksilver.operators.doctor import Finding, Probe, lake, run_checks
from quicksilver.settings import Settings, load_settings
from quicksilver.stack.ports import LOOPBACK, choose_port
from quicksilver.support.prefect_http import prefect_auth
from tests.support.checkout import PROJECT
from tests.support.servers import MinioServer, Postgres
from tests.support.serving import Served, serving

T = TypeVar("T")

# The durable lane's directory is read every 3 s.
PATIENCE = 4.5

LINKS = [
    *("settings", "datasets", "ledger", "migrations", "warehouse", "connections"),
    *("store", "bucket", "lanes", "service", "operators", "reach", "canary"),
    *("prefect", "history", "work pool", "deployments", "worker", "engine", "dbt", "disk", "clock"),
]

# What a broken link leaves unsaid about the links behind it.
BEHIND = {
    "settings": "ledger migrations warehouse connections store bucket lanes service operators"
    " reach canary dbt clock",
    "datasets": "migrations warehouse connections bucket lanes reach canary deployments",
    "ledger": "migrations connections canary clock",
    "warehouse": "connections",
    "migrations": "canary",
    "store": "bucket lanes reach canary",
    "bucket": "lanes reach canary",
    "lanes": "reach canary",
    "service": "operators reach canary",
    "reach": "canary",
    "prefect": "history work-pool deployments worker engine",
    "work pool": "worker engine",
    "worker": "engine",
}


@dataclass
class Chain:
    """A chain in which every link holds: change its settings, and one does not."""

    settings: Settings
    postgres: Postgres
    folder: Path
    databases: list[str] = field(default_factory=list[str])

    receivers: ExitStack = field(default_factory=ExitStack)
    received: Served | None = None

    def listen(self, port: int = 0) -> Served:
        """The receiver: where MinIO's targets point, unless a port is given. Kept until hung up."""
        if self.received is None:
            shared = self.settings
            receiver = serving(
                shared.database_url.get_secret_value(),
                port=port or int(shared.url.rpartition(":")[2]),
                webhook_tokens=",".join(t.get_secret_value() for t in shared.webhook_tokens),
                prefect_api_url=shared.prefect_api_url,
                datasets_file=shared.datasets_file,
            )
            self.received = self.receivers.enter_context(receiver)
        return self.received

    def hang_up(self) -> None:
        """Stop the receiver, if one runs."""
        self.received = None
        self.receivers.close()

    def database(self, owner: str, template: str = "template1") -> str:
        """A fresh database's URL; dropped with the chain."""
        name = f"doctor_{uuid4().hex[:8]}"
        self.databases.append(name)
        return self.postgres.create_database(name, owner, template)

    def declare(self, bucket: str = "", deployment: str = "", **more: str) -> Path:
        """A datasets.yaml; the healthy one's bucket and deployment unless said otherwise."""
        path = self.folder / f"{uuid4().hex}.yaml"
        path.write_text(_declared(bucket or BUCKET, deployment or DEPLOYMENT, **more))
        return path

    def run_checks(self, pool: str = "", **changes: Any) -> Coroutine[Any, Any, list[Finding]]:
        """The findings on the chain with these settings changed."""
        # The worker of these tests asks once.
        used = self.settings.model_copy(update={"worker_poll": 300.0, **changes})
        probe = Probe(used, pool or POOL, PATIENCE)
        return run_checks(probe, lambda _: None)


BUCKET = f"doctor-{uuid4().hex[:8]}"
DEPLOYMENT = f"doctor/{uuid4().hex[:8]}"
# Of its own: no run that another test left there is late.
POOL = f"doctor-{uuid4().hex[:8]}"


def _declared(bucket: str, deployment: str, **more: str) -> str:
    entry = {"bucket": bucket, "key": "trips/dt={dt}/{file}", "deployment": deployment, **more}
    return json.dumps({"datasets": {"doctor.trips": entry}})


def run(work: Coroutine[Any, Any, T]) -> T:
    """In a thread of its own: this one's event loop is the tests'."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


@pytest.fixture(scope="module")
def chain(
    stack_postgres: Postgres,
    ledger_template: str,
    minio_server: MinioServer,
    prefect_api: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Chain]:
    """Real servers all along; the receiver stands where MinIO's targets point."""
    folder = tmp_path_factory.mktemp("doctor")
    datasets = folder / "datasets.yaml"
    datasets.write_text(_declared(BUCKET, DEPLOYMENT))
    name = f"doctor_{uuid4().hex[:8]}"
    ledger_url = stack_postgres.create_database(name, "ledger", ledger_template)
    tokens = f"{minio_server.fast_token},{minio_server.durable_token}"
    settings = load_settings(
        database_url=ledger_url,
        warehouse_url=stack_postgres.create_database(f"{name}_w", "warehouse"),
        minio_endpoint_url=minio_server.endpoint_url,
        minio_access_key=minio_server.access_key,
        minio_secret_key=minio_server.secret_key,
        prefect_api_url=prefect_api,
        webhook_tokens=tokens,
        url=minio_server.receiver_url,
        datasets_file=datasets,
    )
    _deploy(prefect_api)
    _beat(prefect_api, POOL)
    chain = Chain(settings, stack_postgres, folder, [name, f"{name}_w"])
    _make_bucket(chain, BUCKET, is_told_of=True)
    try:
        yield chain
    finally:
        chain.hang_up()
        minio_client(settings).set_bucket_notification(BUCKET, NotificationConfig())
        for database in chain.databases:
            stack_postgres.drop_database(database)


def _make_bucket(chain: Chain, bucket: str, *, is_told_of: bool) -> None:
    client = minio_client(chain.settings)
    client.make_bucket(bucket)
    if is_told_of:
        rules = wanted_rules(load_datasets(chain.settings.datasets_file), bucket)
        client.set_bucket_notification(bucket, NotificationConfig(queue_config_list=rules))


def _deploy(api: str) -> None:
    """A deployment that nothing runs, as Prefect's own client makes one."""
    flow, _, name = DEPLOYMENT.partition("/")
    with httpx.Client(
        base_url=api, trust_env=False, timeout=30, auth=prefect_auth(os.environ)
    ) as client:
        for pool in (POOL, "doctor-idle"):
            body = {"name": pool, "type": "process"}
            client.post("/work_pools/", json=body).raise_for_status()
        made = client.post("/flows/", json={"name": flow}).raise_for_status().json()
        body = {"name": name, "flow_id": made["id"], "work_pool_name": POOL}
        client.post("/deployments/", json=body).raise_for_status()


def _beat(api: str, pool: str) -> None:
    """A heartbeat, as a worker sends it every 30 s, and a question for runs."""
    auth = prefect_auth(os.environ)
    for path, body in (
        ("workers/heartbeat", {"name": "doctors-worker"}),
        ("get_scheduled_flow_runs", {"work_queue_names": ["default"]}),
    ):
        url = f"{api}/work_pools/{pool}/{path}"
        httpx.post(url, json=body, trust_env=False, auth=auth).raise_for_status()


@contextmanager
def older_prefect(api: str) -> Generator[str]:
    """The real server, that says it is an older one."""

    class Older(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/api/admin/version":
                self._say(200, b'"3.0.0"')
                return
            size = int(self.headers.get("content-length") or 0)
            answer = httpx.request(
                self.command,
                api.removesuffix("/api") + self.path,
                content=self.rfile.read(size),
                headers={
                    name: value
                    for name, value in self.headers.items()
                    if name.lower() == "authorization" or name.lower().startswith("prefect-csrf")
                }
                | {"content-type": "application/json"},
                trust_env=False,
            )
            self._say(answer.status_code, answer.content)

        do_POST = do_GET  # noqa: N815 - the base class's name

        def _say(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            return

    server = ThreadingHTTPServer((LOOPBACK, 0), Older)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://{LOOPBACK}:{server.server_port}/api"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def nowhere() -> str:
    return f"http://{LOOPBACK}:{choose_port(None)}"


def an_old_ledger(chain: Chain) -> dict[str, Any]:
    url = chain.database("ledger", "ledger_template")
    with psycopg.connect(url) as connection:
        connection.execute("delete from quicksilver.migration where number > 3")
    return {"database_url": SecretStr(url)}


def a_user_of_nothing(chain: Chain) -> dict[str, Any]:
    name = f"doctor{uuid4().hex[:8]}"
    minio_admin(chain.settings).user_add(name, "a-secret-of-nothing")
    return {"minio_access_key": name, "minio_secret_key": SecretStr("a-secret-of-nothing")}


def a_silent_bucket(chain: Chain) -> dict[str, Any]:
    bucket = f"doctor-{uuid4().hex[:8]}"
    _make_bucket(chain, bucket, is_told_of=False)
    return {"datasets_file": chain.declare(bucket=bucket)}


def a_foreign_warehouse(chain: Chain) -> dict[str, Any]:
    name = chain.database("warehouse").rpartition("/")[2]
    return {"warehouse_url": SecretStr(chain.postgres.url(name, "ledger"))}


def a_wrong_file(chain: Chain) -> dict[str, Any]:
    path = chain.folder / "wrong.yaml"
    path.write_text(_declared(BUCKET, DEPLOYMENT).replace('"key"', '"kee": "x",\n"key"'))
    return {"datasets_file": path}


def tokens(chain: Chain, *chosen: int) -> dict[str, Any]:
    """The environment's webhook tokens; -1 is one that nobody knows."""
    real = (*chain.settings.webhook_tokens, SecretStr("nobody's"))
    return {"webhook_tokens": tuple(real[index] for index in chosen)}


Breaking = Callable[[Chain], dict[str, Any]]

# What is broken: how; the link that must be found; and words that its finding must have.
BREAKS: dict[str, tuple[Breaking, str, tuple[str, ...]]] = {
    "a setting is missing": (
        lambda _: {"minio_access_key": ""},
        "settings",
        ("MINIO_ACCESS_KEY is not set", "quicksilver env"),
    ),
    "the warehouse is not named": (
        lambda chain: {
            "warehouse_url": SecretStr(""),
            "datasets_file": chain.declare(bronze_table="bronze.trips"),
        },
        "warehouse",
        ("QUICKSILVER_WAREHOUSE_URL is not set", "quicksilver env"),
    ),
    "datasets.yaml has an unknown field": (
        a_wrong_file,
        "datasets",
        ("wrong.yaml:1: doctor.trips: kee: unknown", "correct that"),
    ),
    "the ledger is away": (
        lambda _: {"database_url": SecretStr(f"postgresql://x@{nowhere()[7:]}/x")},
        "ledger",
        ("refused", "start Postgres, or correct QUICKSILVER_DATABASE_URL"),
    ),
    "the ledger has no tables": (
        lambda chain: {"database_url": SecretStr(chain.database("ledger"))},
        "migrations",
        ("no tables", "quicksilver migrate"),
    ),
    "the ledger is behind": (an_old_ledger, "migrations", ("at 3,", "quicksilver migrate")),
    "the warehouse may not be written": (
        a_foreign_warehouse,
        "warehouse",
        ("not prepared for this version", "quicksilver init", "QUICKSILVER_WAREHOUSE_URL"),
    ),
    "MinIO is away": (
        lambda _: {"minio_endpoint_url": nowhere()},
        "store",
        ("does not answer", "start MinIO, or correct MINIO_ENDPOINT_URL"),
    ),
    "MinIO's secret is wrong": (
        lambda _: {"minio_secret_key": SecretStr("wrong-secret")},
        "bucket",
        (f"{BUCKET} may not be listed", "correct MINIO_ACCESS_KEY"),
    ),
    "MinIO's user may not list": (
        a_user_of_nothing,
        "bucket",
        ("Access Denied", "let their user list trips/dt="),
    ),
    "the bucket is missing": (
        lambda chain: {"datasets_file": chain.declare(bucket="doctor-is-not-there")},
        "bucket",
        ("doctor-is-not-there is not there", "quicksilver init"),
    ),
    "the bucket has no rules": (a_silent_bucket, "lanes", ("does not tell of", "quicksilver init")),
    "the service is away": (
        lambda _: {"url": nowhere()},
        "service",
        ("does not answer", "quicksilver serve"),
    ),
    "QUICKSILVER_URL is something else": (
        lambda chain: {"url": chain.settings.minio_endpoint_url},
        "service",
        ("answers 4", "is QUICKSILVER_URL a service"),
    ),
    "the fast lane's token differs from the service's": (
        lambda chain: tokens(chain, -1, 1),
        "service",
        ("does not accept token 1", "same QUICKSILVER_WEBHOOK_TOKENS"),
    ),
    "the durable lane's token differs from the service's": (
        lambda chain: tokens(chain, 0, -1),
        "service",
        ("does not accept token 2", "same QUICKSILVER_WEBHOOK_TOKENS"),
    ),
    "Prefect is away": (
        lambda _: {"prefect_api_url": f"{nowhere()}/api"},
        "prefect",
        ("does not answer", "correct PREFECT_API_URL"),
    ),
    "the client is newer than Prefect": (
        lambda _: {"prefect_api_url": "OLDER"},
        "prefect",
        ("newer than the server's 3.0.0", "upgrade the server to 3."),
    ),
    "the pool is missing": (
        lambda _: {"pool": "doctor-nobody-made-it"},
        "work pool",
        ("no work pool doctor-nobody-made-it", "quicksilver init"),
    ),
    "no worker polls": (
        lambda _: {"pool": "doctor-idle"},
        "worker",
        ("no worker asked for runs ever", "quicksilver worker"),
    ),
    "the deployment is missing": (
        lambda chain: {"datasets_file": chain.declare(deployment="silver/nobody-deployed-it")},
        "deployments",
        ("no deployment silver/nobody-deployed-it", "quicksilver init"),
    ),
}


@pytest.fixture(scope="module")
def findings(chain: Chain) -> dict[str, list[Finding]]:
    """Every break's findings, all examined at once: each has settings of its own."""

    async def all_of_them(older: str) -> dict[str, list[Finding]]:
        changes = {name: how(chain) for name, (how, _, _) in BREAKS.items()}
        changes["the client is newer than Prefect"] = {"prefect_api_url": older}
        found = await asyncio.gather(*(chain.run_checks(**change) for change in changes.values()))
        return dict(zip(changes, found, strict=True))

    chain.listen()
    # dbt parses once, into this process's memory.
    dbt_project.manifest()
    with older_prefect(chain.settings.prefect_api_url) as older:
        return run(all_of_them(older))


def only(findings: list[Finding], link: str) -> Finding:
    """The finding on `link`, which alone is broken; what lies behind it is skipped."""
    said = "\n".join(map(str, findings))
    assert [finding.link for finding in findings] == LINKS
    assert [finding.link for finding in findings if finding.status == "broken"] == [link], said
    skipped = {finding.link for finding in findings if finding.status == "skipped"}
    behind = {name.replace("-", " ") for name in BEHIND.get(link, "").split()}
    assert skipped == behind, said
    return next(finding for finding in findings if finding.link == link)


@pytest.mark.parametrize("name", BREAKS)
def test_exactly_the_broken_link_is_found(name: str, findings: dict[str, list[Finding]]) -> None:
    _, link, words = BREAKS[name]
    found = only(findings[name], link)
    for part in words:
        assert part in f"{found.found} | {found.fix}"
    assert found.fix
    assert "secret" not in found.found


def test_a_whole_chain_is_ok(chain: Chain) -> None:
    chain.listen()
    found = run(chain.run_checks())
    assert [(f.link, f.status) for f in found] == [(link, "ok") for link in LINKS], found
    (canary,) = [f for f in found if f.link == "canary"]
    assert f"{BUCKET}: fast 0.0" in canary.found


def test_a_project_without_tables_needs_no_warehouse(chain: Chain) -> None:
    """It fires deployments, and nothing more: `quicksilver init` asks for no warehouse either."""
    chain.listen()
    found = run(chain.run_checks(warehouse_url=SecretStr("")))
    assert [(f.link, f.status) for f in found] == [(link, "ok") for link in LINKS], found
    (warehouse,) = [f for f in found if f.link == "warehouse"]
    assert warehouse.found == "not needed: no dataset has a bronze_table"


def _least_rights(chain: Chain) -> dict[str, Any]:
    """Credentials of a user who has compose's own policy and nothing more."""
    policy = (PROJECT / "compose" / "minio-policy.json").read_text()
    policy = policy.replace(":::datasets", f":::{BUCKET}").replace("bronze/*", "trips/*")
    admin, name = minio_admin(chain.settings), f"doctor{uuid4().hex[:8]}"
    admin.policy_add(name, policy=json.loads(policy))
    admin.user_add(name, "a-secret-of-little")
    admin.policy_set(name, user=name)
    return {"minio_access_key": name, "minio_secret_key": SecretStr("a-secret-of-little")}


def test_the_production_stacks_least_rights_are_enough(chain: Chain) -> None:
    """What they may not ask is left to the canary."""
    chain.listen()
    found = run(chain.run_checks(**_least_rights(chain)))
    assert {f.status for f in found} == {"ok"}, found
    (lanes,) = [f for f in found if f.link == "lanes"]
    assert "the canary tells" in lanes.found


def test_check_lists_every_dataset_with_the_least_rights(chain: Chain) -> None:
    """One folder of a bucket may be listed and another may not: each is said of its own."""
    path = chain.folder / "two.yaml"
    entry = {"bucket": BUCKET, "deployment": DEPLOYMENT}
    declared = {
        "doctor.trips": {**entry, "key": "trips/dt={dt}/{file}"},
        "doctor.other": {**entry, "key": "other/dt={dt}/{file}"},
    }
    path.write_text(json.dumps({"datasets": declared}))
    poor = chain.settings.model_copy(update=_least_rights(chain))
    refused, told = run(check_lake(poor, load_datasets(path)))
    assert (refused.level, "other/" in refused.do) == (Level.ERROR, True)
    assert (told.level, "canary" in told.do) == (Level.UNCHECKED, True)


def test_check_asks_another_store_for_no_rules_of_minio(chain: Chain) -> None:
    other = chain.settings.model_copy(update={"store": "versity"})
    (found,) = run(check_lake(other, load_datasets(chain.settings.datasets_file)))
    assert found.level is Level.OK
    assert "Versity S3 Gateway" in found.what


def test_check_says_once_that_a_bucket_is_missing(chain: Chain) -> None:
    declared = load_datasets(chain.declare(bucket=f"gone-{uuid4().hex[:8]}"))
    (found,) = run(check_lake(chain.settings, declared))
    assert (found.level, found.do) == (Level.WARNING, "quicksilver init")


@pytest.mark.parametrize("lane", ["fast", "durable"])
def test_a_token_that_minio_has_wrong(chain: Chain, lane: str) -> None:
    """Service and environment agree; MinIO's target sends what neither knows."""
    agreed = tokens(chain, *((-1, 1) if lane == "fast" else (0, -1)))
    state = chain.listen().app.state
    before = state.settings
    state.settings = before.model_copy(update=agreed)
    try:
        found = only(run(chain.run_checks(**agreed)), "canary")
    finally:
        state.settings = before
    assert f"did not arrive in {PATIENCE:g} s by: {lane}" in found.found
    assert f"the receiver refuses the {lane} lane's token" in found.fix
    assert (
        f"`quicksilver init --renew-lanes` gives MinIO's webhook target QUICKSILVER_{lane.upper()}"
        in (found.fix)
    )


def test_a_target_that_is_missing(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    chain.listen()
    monkeypatch.setattr(lake, "LANES", {**lake.LANES, "durable": "QUICKSILVER_NOBODY_SET"})
    found = only(run(chain.run_checks()), "lanes")
    assert found.found == "MinIO has no webhook target for: durable"
    assert found.fix == "quicksilver init"


def test_minio_does_not_reach_the_receiver(chain: Chain) -> None:
    """The service answers here; for MinIO, whose targets name another port, it is away."""
    chain.hang_up()
    port = choose_port(None)
    chain.listen(port)
    try:
        found = only(run(chain.run_checks(url=f"http://{LOOPBACK}:{port}")), "reach")
    finally:
        chain.hang_up()
    assert "MinIO does not reach the receiver" in found.found
    assert "quicksilver init --receiver-url" in found.found


def test_dbt_does_not_parse(chain: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chain.listen()
    broken = tmp_path / "analytics"
    shutil.copytree(PROJECT / "analytics", broken, ignore=shutil.ignore_patterns("target", "logs"))
    (broken / "models" / "silver" / "yellow_trips.sql").write_text("select {{ ref('nothing') }}")
    shutil.copy(PROJECT / "datasets.yaml", tmp_path)
    monkeypatch.setenv("QUICKSILVER_PROJECT", str(tmp_path))
    monkeypatch.setattr(dbt_project, "_version", lambda: "broken")
    monkeypatch.setattr(dbt_project, "_cache_folders", lambda: (tmp_path,))
    found = only(run(chain.run_checks()), "dbt")
    assert "yellow_trips" in found.found
    assert "nothing" in found.found
    assert "fix the model" in found.fix
