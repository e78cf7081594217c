"""What a partition costs when the warehouse holds one other partition, and when it holds 1,000.

Two warehouses on the same Postgres, two warm processes, builds in turn; each build is of a new
partition of 10,000 rows. The history is written by SQL, as copies of a partition that was built:
its tables, its rows, its fences and publications, vacuumed and analyzed as autovacuum leaves them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from datetime import date, timedelta
from io import BytesIO
from typing import Any

import psycopg
from psycopg import sql

from bench.months import small_month
from bench.report import Figure, Outcome, median
from bench.stage import BUCKET, WARM, BenchStage, fresh_database
from tests.support.checkout import PROJECT

_ROUNDS, _PARTITIONS = 10, 1_000
# Rows of each table of a partition of the history.
_ROWS = 300


class _Builder:
    """A warm process for one warehouse."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._build = 0
        self.answer()

    def answer(self) -> dict[str, Any]:
        """Its next line."""
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("a building process ended: its log is bench-build.log")
        return json.loads(line)

    def build(self, dt: date, job: dict[str, Any]) -> dict[str, float]:
        """Build a partition; seconds by step."""
        assert self._process.stdin
        self._build += 1
        self._process.stdin.write(
            json.dumps({**job, "partition": dt.isoformat(), "build": self._build}) + "\n"
        )
        self._process.stdin.flush()
        return self.answer()["timings"]


def measure(stage: BenchStage) -> Outcome:
    """Build in turn in both warehouses."""
    partitions = 50 if stage.quick else _PARTITIONS
    rounds = 3 if stage.quick else _ROUNDS
    found: dict[str, list[float]] = {"short": [], "long": []}
    steps: dict[str, list[dict[str, float]]] = {"short": [], "long": []}
    with ExitStack() as stack:
        urls = {name: fresh_database(stage, "warehouse", f"bench_{name}") for name in found}
        builders = {name: stack.enter_context(_builder(stage, url)) for name, url in urls.items()}
        first = next(stage.dts)
        for builder in builders.values():
            builder.build(first, _upload(stage, first))
        began = time.monotonic()
        _write_history(urls["long"], first, partitions - 1)
        stage.say(f"history: {partitions} partitions in {time.monotonic() - began:.0f} s")
        for number in range(rounds + 2):
            dt = next(stage.dts)
            job = _upload(stage, dt)
            # The second build finds the object in MinIO's cache, so the order alternates.
            names = list(found) if number % 2 else list(reversed(found))
            for name in names:
                began = time.perf_counter()
                timings = builders[name].build(dt, job)
                if number >= 2:  # both are warm
                    found[name].append(time.perf_counter() - began)
                    steps[name].append(timings)
    short, long = median(found["short"]), median(found["long"])
    figure = Figure(
        f"build of a partition after {partitions:,} partitions", long * 1000, "ms",
        "≤ 1.1 x of after 1", long <= 1.1 * short, "after 1", short * 1000, long / short, rounds,
    )  # fmt: skip
    medians = {
        name: {step: median([one[step] for one in rows]) for step in rows[0]}
        for name, rows in steps.items()
    }
    return Outcome([figure], {"seconds": found, "steps": medians})


def _upload(stage: BenchStage, dt: date) -> dict[str, Any]:
    """Put a month where no rule of the bucket sees it; what a manifest says of it."""
    key = f"elsewhere/bench_history/dt={dt}/data.parquet"
    body = small_month(dt)
    done = stage.lake.put_object(BUCKET, key, BytesIO(body), len(body))
    return {"key": key, "etag": str(done.etag).strip('"'), "size": len(body)}


@contextmanager
def _builder(stage: BenchStage, url: str) -> Generator[_Builder]:
    environment = {**os.environ, **stage.env, "QUICKSILVER_WAREHOUSE_URL": url}
    with (stage.stack.home.logs / "bench-build.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.build_child"],
            env=environment,
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        yield _Builder(process)
    finally:
        assert process.stdin
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _write_history(url: str, template: date, count: int) -> None:
    """Partitions before the template, as copies of its first rows."""
    with psycopg.connect(url, autocommit=True) as connection:
        parents = connection.execute(
            "select n.nspname, c.relname,"
            " array(select a.attname from pg_attribute as a where a.attrelid = c.oid"
            " and a.attnum > 0 and not a.attisdropped and a.attname <> 'dt' order by a.attnum)"
            " from pg_class as c inner join pg_namespace as n on c.relnamespace = n.oid"
            # Of this dataset alone: those that the template has a child in.
            " where c.relkind = 'p' and exists (select from pg_class as child"
            " where child.relname = n.nspname || '_' || c.relname || %s)",
            (f"_{template:%Y%m%d}",),
        ).fetchall()
        for number in range(1, count + 1):
            dt = date(1900, 1, 1) + timedelta(days=number)
            with connection.transaction():
                for schema, name, columns in parents:
                    _copy(connection, schema, name, columns, template, dt)
                connection.execute(
                    "insert into quicksilver.fence"
                    " (dataset, partition, dt, holder, published_build, generation)"
                    " values (%s, %s, %s, %s, %s, 1)",
                    (WARM, str(dt), dt, 10**6 + number, 10**6 + number),
                )
                connection.execute(
                    "insert into quicksilver.publication"
                    " (build_id, dataset, partition, dt, generation,"
                    " rows_bronze, rows_silver, rows_rejected)"
                    " values (%s, %s, %s, %s, 1, %s, %s, 0)",
                    (10**6 + number, WARM, str(dt), dt, _ROWS, _ROWS),
                )
        connection.execute("vacuum (analyze)")


def _copy(
    connection: psycopg.Connection[Any],
    schema: str,
    name: str,
    columns: list[str],
    template: date,
    dt: date,
) -> None:
    child = sql.Identifier("partitions", f"{schema}_{name}_{dt:%Y%m%d}")
    parent = sql.Identifier(schema, name)
    source = sql.Identifier("partitions", f"{schema}_{name}_{template:%Y%m%d}")
    listed = sql.SQL(", ").join(map(sql.Identifier, columns))
    day = sql.Literal(dt)
    statements = [
        sql.SQL("create table {} (like {} including defaults)").format(child, parent),
        sql.SQL("insert into {} (dt, {}) select {}, {} from {} limit {}").format(
            child, listed, day, listed, source, sql.Literal(_ROWS)
        ),
        sql.SQL("alter table {} attach partition {} for values in ({})").format(parent, child, day),
    ]
    for statement in statements:
        connection.execute(statement)
