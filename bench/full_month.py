"""A month of 3,000,000 rows through the service, beside Postgres alone with the same rows and SQL.

Postgres alone is one `psql`: the parquet, turned into CSV beforehand and uncounted, by COPY into
the same bronze table; then the SQL that dbt executes, models and tests, file after file. Beside it
the same with the SQL of version 0.2.0 (`full_month_before.sql`).
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import threading
import time
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import psutil
import pyarrow.csv as pv
import pyarrow.parquet as pq
from psycopg.conninfo import conninfo_to_dict

from bench import cold_dbt
from bench.months import write_full_month
from bench.report import Figure, Outcome, median
from bench.stage import BUCKET, WARM, BenchStage, key_of
from quicksilver.build.prepare import ensure_warehouse
from quicksilver.domain.datasets import load_datasets
from quicksilver.stack.postgres import BINARIES
from tests.support.declared import yellow_columns

_ROWS, _ROUNDS = 3_000_000, 2
# The baseline's own name among scratch tables: no build of the ledger has it.
_BUILD = 900_000_001
_LANDED = f"quicksilver_build.landed_yellow_tripdata__{_BUILD}"
_BEFORE = Path(__file__).with_name("full_month_before.sql")


class _Peak(threading.Thread):
    """Watches the runs below the warm engine: the most that any one of them had in memory."""

    def __init__(self, engine: int) -> None:
        super().__init__(daemon=True)
        self._engine = psutil.Process(engine)
        self._over = threading.Event()
        self.bytes = 0

    def run(self) -> None:
        """Look twenty times a second: the kernel keeps each process's peak itself."""
        while not self._over.wait(0.05):
            with suppress(psutil.Error):
                for process in self._engine.children(recursive=True):
                    self._look(process.pid)

    def _look(self, pid: int) -> None:
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
                if line.startswith("VmHWM:"):
                    self.bytes = max(self.bytes, int(line.split()[1]) * 1024)

    def stop(self) -> int:
        """The peak in bytes."""
        self._over.set()
        self.join()
        return self.bytes


def measure(stage: BenchStage) -> Outcome:
    """Build a full month in turn by the service and by Postgres alone."""
    rows, rounds = (200_000, 1) if stage.quick else (_ROWS, _ROUNDS)
    folder = stage.stack.folder / "full"
    folder.mkdir()
    path, csv = folder / "month.parquet", folder / "month.csv"
    template = next(stage.dts)
    write_full_month(path, template, rows)
    columns = write_csv(path, csv)
    scripts = executed_sql_of(stage, template)
    found: list[float] = []
    steps: list[dict[str, float]] = []
    copies: list[float] = []
    builds: list[float] = []
    before: list[float] = []
    peak = 0
    for number in range(rounds):
        dt = next(stage.dts)
        if number:
            write_full_month(path, dt, rows)
        timings, bytes_ = _ours(stage, dt, path)
        steps.append(timings)
        found.append(timings["total"])
        peak = max(peak, bytes_)
        copied, built = postgres_alone(stage, csv, columns, scripts)
        copies.append(copied)
        builds.append(built)
        before.append(sum(postgres_alone(stage, csv, columns, [_BEFORE])))
        stage.say(
            f"full month: {timings['total']:.1f} s, alone {copied:.1f} + {built:.1f} s,"
            f" by the SQL of 0.2.0 {before[-1]:.1f} s"
        )
    ours, alone = median(found), median([a + b for a, b in zip(copies, builds, strict=True)])
    megabytes, then = peak / 2**20, median(before)
    figures = [
        Figure(
            f"{rows:,}-row month, load and build", ours, "s", "≤ 1.5 x (c)", ours <= 1.5 * alone,
            "(c) Postgres alone: COPY, psql", alone, ours / alone, rounds,
        ),
        Figure(
            f"{rows:,}-row month, beside the SQL of 0.2.0", ours, "s", "≤ 20 s, ≤ 0.5 x of it",
            ours <= min(20, 0.5 * then), "its COPY and SQL by psql", then, ours / then, rounds,
        ),
        Figure(
            f"{rows:,}-row month, peak memory", megabytes, "MB", "≤ 300 MB", megabytes <= 300,
            samples=rounds,
        ),
    ]  # fmt: skip
    raw = {
        "steps": steps,
        "alone_copy": copies,
        "alone_build": builds,
        "before": before,
        "parquet_mb": path.stat().st_size / 2**20,
        "csv_mb": csv.stat().st_size / 2**20,
    }
    return Outcome(figures, raw)


def _ours(stage: BenchStage, dt: date, path: Path) -> tuple[dict[str, float], int]:
    watch = _Peak(stage.pid("engine"))
    watch.start()
    try:
        stage.lake.fput_object(BUCKET, key_of(WARM, dt), str(path))
        stage.await_silver(WARM, dt, within=300)
        row = stage.await_end(WARM, dt)
    finally:
        peak = watch.stop()
    return row["details"]["timings"], peak


def write_csv(path: Path, csv: Path) -> list[str]:
    """A parquet as CSV; the names of its columns as bronze has them."""
    file: Any = pq.ParquetFile(path)
    schema = file.schema_arrow
    with pv.CSVWriter(csv, schema, write_options=pv.WriteOptions(include_header=False)) as writer:
        for batch in file.iter_batches():
            writer.write_batch(batch)
    renamed = {former: column.name for column in yellow_columns() for former in column.former}
    return [str(renamed.get(name, name)) for name in schema.names]


def _bronze(dt: date) -> str:
    """The DDL of the baseline's bronze table, as a build makes it for a new partition."""
    table = _LANDED
    return (
        f"drop table if exists {table}; create table {table} (like bronze.yellow_tripdata);"
        f" alter table {table} alter dt set default '{dt}';"
        f" alter table {table} alter dt set not null;"
    )


def executed_sql_of(stage: BenchStage, dt: date) -> list[Path]:
    """What dbt executes for a partition, found by having it do so on an empty one."""
    datasets = load_datasets(stage.settings.datasets_file)
    asyncio.run(ensure_warehouse(stage.settings, datasets))
    _psql(stage, "-c", _bronze(dt))
    environment = {
        "QUICKSILVER_BUILD": str(_BUILD),
        "QUICKSILVER_BUILD_SOURCE": "bronze.yellow_tripdata",
        "QUICKSILVER_BUILD_PARTITIONS": json.dumps(
            {
                "column": "dt",
                "type": "date",
                "is_shared": False,
                "partitions": [{"value": dt.isoformat(), "tag": f"{dt:%Y%m%d}", "unlogged": False}],
            }
        ),
    }
    cold_dbt.run(
        stage.settings,
        ["build"],
        environment,
        select="source:bronze.yellow_tripdata+",
        exclude="resource_type:unit_test tag:yearly",
    )
    _psql(stage, "-c", _bronze(dt))
    return cold_dbt.executed_sql(cold_dbt.target_folder())


def postgres_alone(
    stage: BenchStage, csv: Path, columns: list[str], scripts: list[Path]
) -> tuple[float, float]:
    """Seconds of COPY and of the SQL; a clean table is there at the beginning and at the end."""
    _psql(stage, "-c", f"truncate {_LANDED}")
    listed = ", ".join(f'"{name}"' for name in columns)
    began = time.perf_counter()
    _psql(
        stage, "-c",
        f"\\copy {_LANDED} ({listed}) from '{csv}' with (format csv)",
    )  # fmt: skip
    copied = time.perf_counter()
    _psql(stage, *(part for script in scripts for part in ("-f", str(script))))
    return copied - began, time.perf_counter() - copied


def _psql(stage: BenchStage, *arguments: str) -> None:
    """Run psql on the warehouse; the SQL of 0.2.0 names the build by a variable."""
    parts = conninfo_to_dict(stage.env["QUICKSILVER_WAREHOUSE_URL"])
    subprocess.run(
        [
            *(str(BINARIES / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-o", os.devnull),
            *("-v", f"build={_BUILD}"),
            *("-h", str(parts["host"]), "-p", str(parts["port"]), "-U", str(parts["user"])),
            *("-d", str(parts["dbname"]), *arguments),
        ],
        env={
            **os.environ,
            "PGPASSWORD": str(parts["password"]),
            "PGOPTIONS": "-c client_min_messages=warning",
        },
        check=True,
        stdin=subprocess.DEVNULL,
    )
