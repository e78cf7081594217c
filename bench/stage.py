"""The stage of every figure: the embedded stack in a home of its own, with the baselines beside it.

Beside the stack's warm worker there is a stock one: another pool, Prefect's own job template (so
`python -m prefect.engine`) and Prefect's own poll of 10 s. Deployments of the same flows in that
pool, while the dataset names them, make a PUT take the stock way through the same service.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import httpx
import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from bench.months import months
from quicksilver.lake.bronze import minio_client
from quicksilver.settings import Settings
from quicksilver.stack import EmbeddedStack, Home, Program
from quicksilver.stack.initialise import initialise_child
from quicksilver.stack.orchestrator import service_program
from quicksilver.support.prefect_http import prefect_auth
from tests.support.checkout import PROJECT
from tests.support.declared import columns_in_yaml
from tests.support.waiting import until

WARM = "nyc_tlc.yellow_tripdata"
NOBODY = "bench.nobody"
POLLING = "bench.polling"
BUCKET = "datasets"
_PREFIX = {
    WARM: "bronze/nyc_tlc/yellow_tripdata",
    NOBODY: "bronze/bench_nobody",
    POLLING: "elsewhere/bench_polling",
}
# Each dataset's deployment, and its own table, since a table has one owner. The second one's pool
# has no worker: its runs are only created.
_DECLARED = {
    WARM: {"deployment": "silver-build/nyc-tlc", "bronze_table": "bronze.yellow_tripdata"},
    NOBODY: {"deployment": "silver-build/nobody", "bronze_table": "bronze.bench_nobody"},
}
# `WARM` as the baselines have it.
STOCK = {"deployment": "silver-build/stock"}
SINGLE = {"max_partitions_per_run": 1}


@dataclass
class BenchStage:
    """The running stack."""

    stack: EmbeddedStack
    env: dict[str, str]
    quick: bool
    say: Callable[[str], None]
    dts: Iterator[date] = field(default_factory=months)

    def __post_init__(self) -> None:
        self.settings = Settings(**cast("Any", self.env))
        self.lake = minio_client(self.settings)
        self._ledger = _connect(self.env["QUICKSILVER_DATABASE_URL"])
        self._warehouse = _connect(self.env["QUICKSILVER_WAREHOUSE_URL"])
        self.prefect = httpx.Client(
            base_url=self.env["PREFECT_API_URL"],
            timeout=60,
            trust_env=False,
            auth=prefect_auth(self.env),
        )

    @contextmanager
    def declared(self, warm: Mapping[str, str | int]) -> Generator[None]:
        """Have the warm dataset declared as a baseline has it, for a while."""
        self._declare(warm)
        try:
            yield
        finally:
            self._declare({})

    def _declare(self, warm: Mapping[str, str | int]) -> None:
        Path(os.environ["QUICKSILVER_DATASETS"]).write_text(_datasets(warm), encoding="utf-8")
        # It reads the declaration when it starts.
        service = service_program(self.stack.home)
        self.stack.supervisor.stop_program(service.name)
        self.stack.supervisor.start(service)
        self.stack.supervisor.await_ready(service)

    def put(self, dataset: str, dt: date, body: bytes) -> float:
        """Put a partition's file; when the PUT began, in seconds since the epoch."""
        began = time.time()
        self.lake.put_object(BUCKET, key_of(dataset, dt), BytesIO(body), len(body))
        return began

    def ledger(self, statement: str, *parameters: Any) -> list[dict[str, Any]]:
        """Rows of the ledger."""
        return cast("Any", self._ledger.execute(statement.encode(), parameters).fetchall())

    def change_ledger(self, statement: str, *parameters: Any) -> None:
        """Change the ledger directly, which the service never does."""
        self._ledger.execute(statement.encode(), parameters)

    def warehouse(self, statement: str, *parameters: Any) -> list[dict[str, Any]]:
        """Rows of the warehouse."""
        return cast("Any", self._warehouse.execute(statement.encode(), parameters).fetchall())

    def await_silver(self, dataset: str, dt: date, within: float = 120) -> float:
        """Wait until a partition is published in the warehouse; when, seconds since the epoch."""

        def ask() -> bool:
            return bool(
                self.warehouse(
                    "select 1 from quicksilver.fence"
                    " where dataset = %s and dt = %s and published_build is not null",
                    dataset,
                    dt,
                )
            )

        until(ask, f"silver of {dataset}/{dt}", within=within, every=0.01)
        return time.time()

    def await_end(self, dataset: str, dt: date) -> dict[str, Any]:
        """Wait until the partition's build has ended, run and all; its row in the ledger."""

        def ask() -> dict[str, Any] | None:
            rows = self.ledger(
                "select * from quicksilver.build where dataset = %s and partition = %s"
                " order by id desc limit 1",
                dataset,
                str(dt),
            )
            return rows[0] if rows and rows[0]["finished_at"] else None

        row = until(ask, f"the end of the build of {dataset}/{dt}", within=120, every=0.05)
        if row["state"] != "succeeded":
            raise RuntimeError(f"{dataset}/{dt}: {row['state']}: {row['error']}")
        return row

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Prefect's API."""
        answer = self.prefect.request(method, path, json=body)
        answer.raise_for_status()
        return answer.json()

    def pid(self, program: str) -> int:
        """The process id of a part of the stack."""
        return self.stack.supervisor.status(program).pid


def key_of(dataset: str, dt: date) -> str:
    """The key of a partition's one file."""
    return f"{_PREFIX[dataset]}/dt={dt}/data.parquet"


def fresh_database(stage: BenchStage, owner: str, name: str) -> str:
    """An empty database of a role of the stack's; its URL."""
    home = stage.stack.home
    with psycopg.connect(home.database_url("postgres", admin=True), autocommit=True) as admin:
        named = sql.Identifier(name)
        admin.execute(sql.SQL("drop database if exists {} with (force)").format(named))
        admin.execute(sql.SQL("create database {} owner {}").format(named, sql.Identifier(owner)))
    return home.database_url(owner).rpartition("/")[0] + f"/{name}"


def _connect(url: str) -> psycopg.Connection[Any]:
    return psycopg.connect(url, autocommit=True, row_factory=cast("Any", dict_row))


@contextmanager
def staged(folder: Path, *, quick: bool, say: Callable[[str], None]) -> Generator[BenchStage]:
    """Start the stack in a fresh home, with the baselines; stop it at the end."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    datasets = folder / "datasets.yaml"
    datasets.write_text(_datasets({}), encoding="utf-8")
    os.environ["QUICKSILVER_DATASETS"] = str(datasets)
    # A baseline's flow lies in this package, which is not installed.
    os.environ["PYTHONPATH"] = str(PROJECT)
    with EmbeddedStack(
        folder,
        ports=None,
        after_servers=[initialise_child, _add_baselines],
        extra=[_stock_worker],
        say=say,
    ) as stack:
        env = stack.environment()
        os.environ.update(env)
        yield BenchStage(stack, env, quick, say)


def _datasets(warm: Mapping[str, str | int]) -> str:
    lines = ["datasets:"]
    for name, declared in _DECLARED.items():
        fields = declared | (dict(warm) if name == WARM else {})
        lines += [
            f"  {name}:",
            f"    bucket: {BUCKET}",
            f"    key: {_PREFIX[name]}/dt={{dt}}/{{file}}",
            f"    columns: {json.dumps(columns_in_yaml())}",
            *(f"    {field}: {value}" for field, value in fields.items()),
        ]
    return "\n".join(lines) + "\n"


def _stock_worker(home: Home) -> Program:
    return Program(
        name="stock-worker",
        command=(
            *(sys.executable, "-m", "prefect", "worker", "start"),
            *("--name", "stock", "--pool", "stock", "--type", "process"),
        ),
        env=home.child_environment() | {"PREFECT_WORKER_QUERY_SECONDS": "10"},
        cwd=PROJECT,
        stop_within=6,
    )


def _add_baselines(environment: Mapping[str, str]) -> None:
    """The stock pool, a pool without a worker, and the deployments in them."""
    with httpx.Client(
        base_url=environment["PREFECT_API_URL"],
        timeout=60,
        trust_env=False,
        auth=prefect_auth(environment),
    ) as client:

        def call(method: str, path: str, body: Any = None) -> Any:
            answer = client.request(method, path, json=body)
            answer.raise_for_status()
            return answer.json()

        known = call("GET", "/collections/views/aggregate-worker-metadata")
        stock = known["prefect"]["process"]["default_base_job_configuration"]
        for name in ("stock", "nobody"):
            call(
                "POST",
                "/work_pools/",
                {"name": name, "type": "process", "base_job_template": stock},
            )
        ours = call("GET", "/deployments/name/silver-build/nyc-tlc")
        body = {
            "flow_id": ours["flow_id"],
            "entrypoint": ours["entrypoint"],
            "parameter_openapi_schema": ours["parameter_openapi_schema"],
            "pull_steps": ours["pull_steps"],
        }
        for name in ("stock", "nobody"):
            call("POST", "/deployments/", {**body, "name": name, "work_pool_name": name})
        polling = call("POST", "/flows/", {"name": "polling-pattern"})
        call(
            "POST",
            "/deployments/",
            {
                "name": "stock",
                "flow_id": polling["id"],
                "entrypoint": "bench.polling_flow.polling_pattern",
                "pull_steps": ours["pull_steps"],
                "enforce_parameter_schema": False,
                "work_pool_name": "stock",
            },
        )


def seconds_between(first: datetime, second: datetime) -> float:
    """From the first moment to the second."""
    return (second - first).total_seconds()
