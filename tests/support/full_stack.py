"""The whole stack as a test meets it: put a month, ask ledger, warehouse, API and Prefect."""

from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, cast

import httpx
import psycopg
import pyarrow.parquet as pq
from minio import Minio
from psycopg.rows import dict_row

from quicksilver.flows.nyc_tlc.generated import generate_month
from quicksilver.lake.bronze import minio_client
from quicksilver.settings import Settings
from quicksilver.stack import EmbeddedStack
from quicksilver.support.http import local_http_client
from quicksilver.support.prefect_http import prefect_auth
from tests.support.otlp import Collector

DATASET = "nyc_tlc.yellow_tripdata"
BUCKET = "datasets"


@dataclass(frozen=True)
class FullStack:
    """A running stack, and how tests speak with it."""

    stack: EmbeddedStack
    env: dict[str, str]
    collector: Collector = field(default_factory=Collector)

    @property
    def minio(self) -> Minio:
        """The lake."""
        return minio_client(self.settings)

    @property
    def settings(self) -> Settings:
        """The settings that reach the stack."""
        return Settings(**cast("Any", self.env))

    def put_month(self, year: int, month: int, *, rows: int = 300, seed: int = 0) -> bytes:
        """Put an invented month into bronze; the bytes that were put."""
        body = BytesIO()
        pq.write_table(generate_month(year, month, rows, seed), body)
        key = f"bronze/nyc_tlc/yellow_tripdata/dt={year}-{month:02d}-01/data.parquet"
        data = body.getvalue()
        self.minio.put_object(BUCKET, key, BytesIO(data), len(data))
        return data

    def ledger(self, statement: str, *parameters: Any) -> list[dict[str, Any]]:
        """Rows of the ledger."""
        return _rows(self.env["QUICKSILVER_DATABASE_URL"], statement, parameters)

    def warehouse(self, statement: str, *parameters: Any) -> list[dict[str, Any]]:
        """Rows of the warehouse."""
        return _rows(self.env["QUICKSILVER_WAREHOUSE_URL"], statement, parameters)

    def partition(self, dt: str) -> dict[str, Any]:
        """A partition through the service's own API; empty when it is not known, or it is away."""
        try:
            answer = self.call("GET", f"/api/partitions/{DATASET}/{dt}")
        except httpx.TransportError:
            return {}
        return answer.json() if answer.is_success else {}

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """The service's API, as an operator."""
        headers = {"Authorization": f"Bearer {self.env['QUICKSILVER_OPERATOR_TOKENS']}"}
        url = self.env["QUICKSILVER_URL"] + path
        return local_http_client().request(method, url, headers=headers, timeout=30, **options)

    def prefect(self, method: str, path: str, body: Any = None) -> Any:
        """Prefect's API."""
        url = self.env["PREFECT_API_URL"] + path
        answer = local_http_client().request(method, url, json=body, auth=prefect_auth(self.env))
        answer.raise_for_status()
        return answer.json()

    def run_deployment(self, name: str, parameters: dict[str, Any]) -> str:
        """Start a run of a deployment; its id."""
        found = self.prefect("GET", f"/deployments/name/{name}")
        run = self.prefect(
            "POST", f"/deployments/{found['id']}/create_flow_run", {"parameters": parameters}
        )
        return cast("str", run["id"])

    def run_state(self, run: str) -> dict[str, Any]:
        """A flow run's state."""
        return cast("dict[str, Any]", self.prefect("GET", f"/flow_runs/{run}")["state"])


def _rows(url: str, statement: str, parameters: tuple[Any, ...]) -> list[dict[str, Any]]:
    with psycopg.connect(url, row_factory=cast("Any", dict_row)) as connection:
        found = connection.execute(cast("Any", statement), parameters).fetchall()
    return cast("list[dict[str, Any]]", found)
