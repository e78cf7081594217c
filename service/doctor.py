"""`quicksilver doctor`: walks the chain from the settings to silver, link by link.

A link whose forerunner is broken is skipped: what it would say would be a consequence.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import urllib3
from minio.error import MinioException

from service.bronze import minio_client
from service.canary import PATIENCE, fly
from service.database import Database
from service.datasets import Datasets, load_datasets
from service.errors import QuicksilverError
from service.lanes import LANES, known_targets, minio_admin, rules_in_place, target_arn
from service.ledger import Ledger
from service.migrate import available
from service.pool import POOL
from service.settings import Settings
from service.warehouse import Warehouse

# Prefect's workers beat every 30 s.
_WORKER_BEAT = timedelta(seconds=90)


@dataclass(frozen=True, slots=True)
class Finding:
    """One link: `ok`, `broken` or `skipped`; what was seen, and the command that mends it."""

    link: str
    status: str
    seen: str
    mend: str = ""


class BrokenError(Exception):
    """A link is broken: what was seen, and what mends it."""

    def __init__(self, seen: str, mend: str) -> None:
        super().__init__(seen)
        self.seen = seen
        self.mend = mend


@dataclass(slots=True)
class Patient:
    """What the checks share."""

    settings: Settings
    datasets: Datasets | None = None
    ledger: Ledger | None = None
    findings: list[Finding] = field(default_factory=list)

    def declared(self) -> Datasets:
        """The datasets, once they were read."""
        if self.datasets is None:
            raise BrokenError("datasets.yaml was not read", "see above")
        return self.datasets


Check = Callable[[Patient], Awaitable[str]]


async def examine(settings: Settings, show: Callable[[Finding], None]) -> list[Finding]:
    """Check every link, telling each as it is known; all findings."""
    patient = Patient(settings)
    ok: set[str] = set()
    for link, needs, check in _LINKS:
        missing = [need for need in needs if need not in ok]
        if missing:
            finding = Finding(link, "skipped", f"needs {', '.join(missing)}")
        else:
            try:
                finding = Finding(link, "ok", await check(patient))
                ok.add(link)
            except BrokenError as error:
                finding = Finding(link, "broken", error.seen, error.mend)
            except QuicksilverError as error:
                finding = Finding(link, "broken", str(error), "see the message")
        patient.findings.append(finding)
        show(finding)
    if patient.ledger is not None:
        await patient.ledger.database.close()
    return patient.findings


async def _settings(patient: Patient) -> str:
    names = ("database_url", "warehouse_url", "minio_access_key", "minio_secret_key")
    try:
        patient.settings.require(*names, "webhook_tokens")
    except QuicksilverError as error:
        raise BrokenError(str(error), 'eval "$(quicksilver env)", or fill in .env') from error
    return "all that are needed are set"


async def _datasets(patient: Patient) -> str:
    try:
        patient.datasets = load_datasets(patient.settings.datasets_file)
    except QuicksilverError as error:
        raise BrokenError(str(error), "mend that line of datasets.yaml") from error
    return ", ".join(patient.datasets.by_name)


async def _ledger(patient: Patient) -> str:
    url = patient.settings.database_url.get_secret_value()
    try:
        async with await psycopg.AsyncConnection.connect(url, connect_timeout=5) as connection:
            row = await (await connection.execute("select version()")).fetchone()
    except psycopg.Error as error:
        raise BrokenError(
            str(error).strip().split("\n")[0], "start Postgres, or correct QUICKSILVER_DATABASE_URL"
        ) from error
    return str(row[0]).split(" on ")[0] if row else "answers"


async def _migrations(patient: Patient) -> str:
    url = patient.settings.database_url.get_secret_value()
    try:
        async with await psycopg.AsyncConnection.connect(url) as connection:
            row = await (
                await connection.execute("select max(number) from quicksilver.migration")
            ).fetchone()
    except psycopg.errors.UndefinedTable as error:
        raise BrokenError("the ledger has no tables", "quicksilver migrate") from error
    except psycopg.Error as error:
        raise BrokenError(str(error).strip().split("\n")[0], "quicksilver migrate") from error
    newest = available()[-1][0]
    number = int(row[0] or 0) if row else 0
    if number != newest:
        raise BrokenError(f"at {number}, this program's newest is {newest}", "quicksilver migrate")
    database = Database(url, size=2, application="quicksilver-doctor")
    await database.open()
    patient.ledger = Ledger(database, patient.declared())
    return f"at {number}, the newest"


async def _warehouse(patient: Patient) -> str:
    try:
        await Warehouse(patient.settings).ensure()
    except (QuicksilverError, psycopg.Error) as error:
        raise BrokenError(
            str(error).strip().split("\n")[0],
            "start it, or correct QUICKSILVER_WAREHOUSE_URL; its role must be allowed to create"
            " schemas",
        ) from error
    return "writable"


async def _minio(patient: Patient) -> str:
    url = f"{patient.settings.minio_endpoint_url}/minio/health/live"
    try:
        async with httpx.AsyncClient(timeout=5) as client:
            answer = await client.get(url)
    except httpx.HTTPError as error:
        raise BrokenError(
            f"{patient.settings.minio_endpoint_url} does not answer: {error}",
            "start MinIO, or correct MINIO_ENDPOINT_URL",
        ) from error
    if not answer.is_success:
        raise BrokenError(f"{url} answers {answer.status_code}", "see MinIO's log")
    return "alive"


async def _bucket(patient: Patient) -> str:
    client = minio_client(patient.settings, timeout=5)
    for bucket in sorted({d.bucket for d in patient.declared().datasets}):
        try:
            there = await asyncio.to_thread(client.bucket_exists, bucket)
            if there:
                await asyncio.to_thread(next, client.list_objects(bucket), None)
        except (MinioException, urllib3.exceptions.HTTPError) as error:
            reason = getattr(error, "message", None) or str(error)
            raise BrokenError(
                f"bucket {bucket} may not be listed: {reason}",
                "correct MINIO_ACCESS_KEY and MINIO_SECRET_KEY, or the user's policy",
            ) from error
        if not there:
            raise BrokenError(f"bucket {bucket} is not there", "quicksilver init")
    return "there, and may be listed"


async def _lanes(patient: Patient) -> str:
    try:
        known = await asyncio.to_thread(known_targets, minio_admin(patient.settings))
    except QuicksilverError as error:
        raise BrokenError(str(error), "run doctor with MinIO's administrator once") from error
    silent = [lane for lane, target in LANES.items() if target_arn(target) not in known]
    if silent:
        raise BrokenError(
            f"MinIO has no webhook target for: {', '.join(silent)}", "quicksilver init"
        )
    client = minio_client(patient.settings, timeout=5)
    for bucket in sorted({d.bucket for d in patient.declared().datasets}):
        if not await asyncio.to_thread(rules_in_place, client, bucket, patient.declared()):
            raise BrokenError(
                f"bucket {bucket} does not tell of what datasets.yaml declares", "quicksilver init"
            )
    return "both targets and all rules are in place"


async def _service(patient: Patient) -> str:
    settings = patient.settings
    token = settings.webhook_tokens[0].get_secret_value()
    try:
        async with httpx.AsyncClient(base_url=settings.url, timeout=10) as client:
            await client.get("/healthz")
            probe = await client.get("/events/minio", headers={"Authorization": f"Bearer {token}"})
            ready = await client.get("/readyz")
    except httpx.HTTPError as error:
        raise BrokenError(
            f"{settings.url} does not answer: {error}", "quicksilver serve, or set QUICKSILVER_URL"
        ) from error
    if probe.status_code == 401:
        raise BrokenError(
            "the service does not accept this environment's webhook token",
            "give both the same QUICKSILVER_WEBHOOK_TOKENS and restart the service",
        )
    if not ready.is_success:
        raise BrokenError(f"not ready: {ready.json().get('problems')}", "mend what it names")
    return "alive, ready, and accepts the token"


async def _canary(patient: Patient) -> str:
    if patient.ledger is None:
        raise BrokenError("the ledger is not open", "see above")
    client = minio_client(patient.settings, timeout=5)
    lags: list[str] = []
    for bucket in sorted({d.bucket for d in patient.declared().datasets}):
        seen = await fly(client, patient.ledger, bucket)
        silent = [lane for lane in LANES if getattr(seen, lane) is None]
        if silent:
            raise BrokenError(
                f"a canary in {bucket} did not arrive in {PATIENCE:g} s by: {', '.join(silent)}",
                "MinIO must reach the receiver from its own host, with a token it accepts: look at"
                " MinIO's log, then quicksilver init --receiver-url URL",
            )
        lags.append(f"{bucket}: fast {seen.fast:.3f} s, durable {seen.durable:.3f} s")
    return "; ".join(lags)


async def _prefect(patient: Patient) -> str:
    import prefect

    try:
        async with httpx.AsyncClient(timeout=10) as client:
            answer = await client.get(f"{patient.settings.prefect_api_url}/admin/version")
            answer.raise_for_status()
    except httpx.HTTPError as error:
        raise BrokenError(
            f"{patient.settings.prefect_api_url} does not answer: {error}",
            "start Prefect's server, or correct PREFECT_API_URL",
        ) from error
    server, client_version = str(answer.json()), prefect.__version__
    if _numbers(client_version) > _numbers(server):
        raise BrokenError(
            f"the client is {client_version}, newer than the server's {server}",
            f"upgrade the server to {client_version}",
        )
    return f"server {server}, client {client_version}"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("+")[0].split(".")[:3] if part.isdigit())


async def _api(patient: Patient, method: str, path: str, body: Any = None) -> httpx.Response:
    try:
        async with httpx.AsyncClient(base_url=patient.settings.prefect_api_url, timeout=10) as api:
            return await api.request(method, path, json=body)
    except httpx.HTTPError as error:
        raise BrokenError(f"Prefect does not answer: {error}", "see above") from error


async def _pool(patient: Patient) -> str:
    answer = await _api(patient, "GET", f"/work_pools/{POOL}")
    if answer.status_code == 404:
        raise BrokenError(f"there is no work pool {POOL}", "quicksilver init")
    pool = answer.json()
    if pool.get("is_paused"):
        raise BrokenError(f"work pool {POOL} is paused", f"prefect work-pool resume {POOL}")
    return f"{POOL}, of type {pool.get('type')}"


async def _deployments(patient: Patient) -> str:
    names = {d.deployment for d in patient.declared().datasets}
    for name in sorted(names):
        answer = await _api(patient, "GET", f"/deployments/name/{name}")
        if answer.status_code == 404:
            raise BrokenError(f"Prefect knows no deployment {name}", "quicksilver init")
    return ", ".join(sorted(names))


async def _worker(patient: Patient) -> str:
    answer = await _api(patient, "POST", f"/work_pools/{POOL}/workers/filter", {})
    since = datetime.now(UTC) - _WORKER_BEAT
    alive = [
        worker["name"]
        for worker in answer.json()
        if datetime.fromisoformat(worker["last_heartbeat_time"]) > since
    ]
    if not alive:
        raise BrokenError(
            f"no worker polls {POOL}",
            f"prefect worker start --pool {POOL} --type process --limit 8",
        )
    return ", ".join(alive)


async def _dbt(_patient: Patient) -> str:
    from flows import dbt_runner

    try:
        parsed = await asyncio.to_thread(dbt_runner.manifest)
    except Exception as error:
        raise BrokenError(f"dbt does not parse: {error}", "mend the model that it names") from error
    return f"{len(parsed.nodes)} nodes"


_LINKS: tuple[tuple[str, tuple[str, ...], Check], ...] = (
    ("settings", (), _settings),
    ("datasets", (), _datasets),
    ("ledger", ("settings",), _ledger),
    ("migrations", ("ledger", "datasets"), _migrations),
    ("warehouse", ("settings",), _warehouse),
    ("minio", ("settings",), _minio),
    ("bucket", ("minio", "datasets"), _bucket),
    ("lanes", ("bucket",), _lanes),
    ("service", ("settings",), _service),
    ("canary", ("lanes", "service", "migrations"), _canary),
    ("prefect", (), _prefect),
    ("work pool", ("prefect",), _pool),
    ("deployments", ("prefect", "datasets"), _deployments),
    ("worker", ("work pool",), _worker),
    ("dbt", ("settings",), _dbt),
)
