"""The whole stack under attack: what was put, what silver must therefore be, and whether it is."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from io import BytesIO
from pathlib import Path
from typing import Any, cast
from unittest import mock

import psycopg
import pyarrow.parquet as pq
import urllib3
from minio import Minio
from minio.error import MinioException
from psycopg import sql

from quicksilver.flows.nyc_tlc.generated import generate_month
from quicksilver.lake.bronze import minio_client
from quicksilver.settings import Settings
from quicksilver.stack import EmbeddedStack, Home, Program, parts
from quicksilver.stack.initialise import initialise_child
from quicksilver.support import failpoint
from tests.support.checkout import PROJECT

DATASET = "nyc_tlc.yellow_tripdata"
BUCKET = "datasets"
PREFIX = "bronze/nyc_tlc/yellow_tripdata"
MONTHS = [date(2024, month, 1) for month in range(1, 7)]
VERSIONS = 3
ROWS = 300

# Faults come faster here than in life: so do the service's answers to them.
QUICK = {
    "QUICKSILVER_START_DEADLINE": "30",
    "QUICKSILVER_CLAIM_LEASE": "8",
    "QUICKSILVER_ABANDON_GRACE": "3",
    "QUICKSILVER_SWEEP_INTERVAL": "15",
    "QUICKSILVER_TICK": "2",
    "QUICKSILVER_LOG_FORMAT": "json",
}

DIGESTS = """
select
    (select md5(string_agg(t::text, '|' order by t::text)) from bronze.yellow_tripdata as t
        where t.dt = %(dt)s),
    (select md5(string_agg(t::text, '|' order by t::text)) from silver.yellow_trips as t
        where t.dt = %(dt)s),
    (select md5(string_agg(t::text, '|' order by t::text)) from silver.yellow_trips_rejected as t
        where t.dt = %(dt)s)
"""

Say = Callable[[str], None]
Digest = tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Version:
    """One content of a month, and the digests of what a clean build makes of it."""

    body: bytes
    etag: str
    expected: Digest


@dataclass
class ChaosStage:
    """A running stack, the months' versions, and which of them lies in bronze."""

    stack: EmbeddedStack
    env: dict[str, str]
    failpoints: Path
    say: Say
    versions: dict[date, list[Version]] = field(default_factory=dict[date, "list[Version]"])
    current: dict[date, Version] = field(default_factory=dict[date, Version])
    sent: int = 0

    @property
    def lake(self) -> Minio:
        """A client that gives up soon: the caller tries again."""
        return minio_client(Settings(**cast("Any", self.env)), timeout=5.0)

    def put(self, dt: date, number: int) -> None:
        """Put another version of a month; returns once MinIO has acknowledged it."""
        others = [v for v in self.versions[dt] if v is not self.current.get(dt)]
        version = others[number % len(others)]
        self.put_object(f"{PREFIX}/dt={dt}/data.parquet", version.body)
        self.current[dt] = version

    def put_object(self, key: str, body: bytes, *, within: float = 120) -> None:
        """Put an object, again and again until it is acknowledged."""
        deadline = time.monotonic() + within
        lake = self.lake
        while True:
            try:
                lake.put_object(BUCKET, key, BytesIO(body), len(body))
            except (MinioException, urllib3.exceptions.HTTPError, OSError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
            else:
                self.sent += 1
                return

    def ledger(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Rows of the ledger."""
        return rows(self.env["QUICKSILVER_DATABASE_URL"], statement, parameters)

    def warehouse(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Rows of the warehouse."""
        return rows(self.env["QUICKSILVER_WAREHOUSE_URL"], statement, parameters)

    def unfinished(self) -> dict[str, str]:
        """What is not as it must be, by partition; empty when all is well."""
        problems: dict[str, str] = {}
        found = {
            row[0]: row[1:]
            for row in self.ledger(
                "select dt, state, generation, built_generation, error from quicksilver.partition"
                " where dataset = %s",
                DATASET,
            )
        }
        with psycopg.connect(self.env["QUICKSILVER_WAREHOUSE_URL"], connect_timeout=3) as warehouse:
            for dt, version in self.current.items():
                state, generation, built, error = found.get(dt, ("unknown", 0, -1, None))
                if state != "built" or generation != built:
                    problems[str(dt)] = f"{state}, generation {built} of {generation}: {error}"
                elif digests(warehouse, dt) != version.expected:
                    problems[str(dt)] = f"generation {built} is not what bronze holds"
        active = self.ledger(
            "select partition, state from quicksilver.build"
            " where dataset = %s and finished_at is null",
            DATASET,
        )
        problems |= {f"build of {dt}": state for dt, state in active}
        return problems

    def doubled(self) -> int:
        """Generations that were published more than once."""
        found = self.warehouse(
            "select count(*) from (select 1 from quicksilver.publication"
            " group by dataset, dt, generation having count(*) > 1) as twice"
        )
        return int(found[0][0])

    def await_built(self, within: float) -> float:
        """Seconds until everything put is in silver.

        Raises:
            StuckError: it is not in time; says what is missing.
        """
        return seconds_until_well(self.unfinished, within)


def seconds_until_well(unfinished: Callable[[], dict[str, str]], within: float) -> float:
    """Seconds until nothing is unfinished; asked again while Postgres is away.

    Raises:
        StuckError: something still is after `within` seconds; says what.
    """
    began = time.monotonic()
    last: object = None
    while time.monotonic() - began < within:
        try:
            last = unfinished()
        except psycopg.Error as error:
            last = error
        else:
            if not last:
                return time.monotonic() - began
        time.sleep(0.2)
    raise StuckError(f"not well after {within:g} s: {last}")


class StuckError(Exception):
    """Something was not built in time."""


def rows(url: str, statement: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
    """Rows of a query on a connection of its own."""
    with psycopg.connect(url, connect_timeout=3) as connection:
        return connection.execute(cast("Any", statement), parameters).fetchall()


def digests(connection: psycopg.Connection[Any], dt: date) -> Digest:
    """Of bronze, silver and what was rejected, row for row, in any order."""
    row = connection.execute(DIGESTS, {"dt": dt}).fetchone()
    return cast("Digest", row)


@contextmanager
def stage(
    say: Say,
    *,
    months: Sequence[date] = MONTHS,
    queue_limit: int | None = None,
    limit: int = 4,
    declared: str = "",
) -> Generator[ChaosStage]:
    """The whole stack in a home of its own, with the reference builds of the months made.

    `declared` are further datasets, as `datasets.yaml` has them.
    """
    folder = Path(tempfile.mkdtemp(prefix="qs-chaos-"))
    home, points = folder / "home", folder / "points"
    home.mkdir(mode=0o700)
    points.mkdir(mode=0o700)
    datasets = folder / "datasets.yaml"
    own = (PROJECT / "datasets.yaml").read_text(encoding="utf-8")
    datasets.write_text(with_more(patient(own), declared), encoding="utf-8")
    extra = {
        **QUICK,
        failpoint.VARIABLE: str(points),
        "QUICKSILVER_DATASETS": str(datasets),
    }

    def limited(home: Home) -> Program:
        program = real(home)
        if queue_limit is None:
            return program
        name = "MINIO_NOTIFY_WEBHOOK_QUEUE_LIMIT_QUICKSILVER_DURABLE"
        return dataclasses.replace(program, env={**program.env, name: str(queue_limit)})

    real = parts.minio_program
    stack = EmbeddedStack(home, ports=None, limit=limit, after_servers=[initialise_child], say=say)
    try:
        with mock.patch.dict(os.environ, extra), mock.patch.object(parts, "minio_program", limited):
            stack.start()
        env = {**stack.environment(), **extra}
        made = ChaosStage(stack, env, points, say)
        made.versions = make_versions(made, months)
        yield made
    finally:
        stack.stop()
        if "QUICKSILVER_CHAOS_KEEP" in os.environ:
            say(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def patient(declared: str) -> str:
    """`datasets.yaml` with as many attempts as it takes: here the world is broken, not the data."""
    return declared.rstrip() + "\n    attempts: 100\n    time_limit: 3m\n"


def with_more(text: str, declared: str) -> str:
    """`datasets.yaml` with further datasets, before all others."""
    return text.replace("datasets:\n", f"datasets:\n{declared.strip(chr(10))}\n", 1)


def make_versions(made: ChaosStage, months: Sequence[date]) -> dict[date, list[Version]]:
    """Every version of every month, built once, cleanly, into a warehouse of its own."""
    admin = made.stack.home.database_url("postgres", admin=True)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(sql.SQL("create database reference owner warehouse"))
    url = made.env["QUICKSILVER_WAREHOUSE_URL"].rpartition("/")[0] + "/reference"
    bodies: dict[tuple[date, int], bytes] = {}
    jobs: list[dict[str, Any]] = []
    for dt in months:
        for number in range(VERSIONS):
            sink = BytesIO()
            pq.write_table(generate_month(dt.year, dt.month, ROWS, seed=number), sink)
            body = bodies[dt, number] = sink.getvalue()
            # Outside every dataset's prefix: no event tells of it.
            key = f"reference/{dt}/{number}.parquet"
            made.lake.put_object(BUCKET, key, BytesIO(body), len(body))
            jobs.append({"dt": str(dt), "key": key, "etag": _etag(body), "size": len(body)})
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.reference"],
        input=json.dumps(jobs),
        env={
            **os.environ,
            **made.env,
            "QUICKSILVER_WAREHOUSE_URL": url,
            "DBT_PG_DBNAME": "reference",
            failpoint.VARIABLE: "",
        },
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the reference builds failed:\n{done.stdout}\n{done.stderr}")
    expected: list[list[str | None]] = json.loads(done.stdout.strip().splitlines()[-1])
    made.say(f"{len(expected)} versions of {len(months)} months built for reference")
    versions: dict[date, list[Version]] = {dt: [] for dt in months}
    for (dt, number), digest in zip(bodies, expected, strict=True):
        body = bodies[dt, number]
        versions[dt].append(Version(body, _etag(body), tuple(digest)))
    return versions


def _etag(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()
