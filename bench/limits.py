"""The lower limit of a PUT: the sum of the calls that are indispensable, and our ratio to it.

PUT, a commit for the event, Prefect's create call, the month's SQL in one `psql`, a commit that
publishes: each taken alone, in the same run and on the same servers.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median

import psycopg

from bench.full_month import executed_sql_of, postgres_alone, write_csv
from bench.months import small_month
from bench.report import Figure
from bench.stage import BenchStage

_COMMITS, _MONTHS = 50, 5


def measure(
    stage: BenchStage, puts: Sequence[float], creates: Sequence[float], silver: Sequence[float]
) -> tuple[list[Figure], dict[str, float]]:
    """The ratio of PUT → silver to the limits, and the limits in seconds."""
    commit = median(_commits(stage))
    limits = {
        "PUT": median(puts),
        "commit of the event": commit,
        "create call": median(creates),
        "SQL by psql": median(_months(stage)),
        "commit that publishes": commit,
    }
    total = sum(limits.values())
    ours = median(silver)
    words = ", ".join(f"{name} {1000 * seconds:.0f} ms" for name, seconds in limits.items())
    figure = Figure(
        "PUT → silver, p50, against the sum of the limits", ours, "s", "≤ 1.8 x the limits",
        ours <= 1.8 * total, "sum of the limits", total, ours / total, len(silver),
        f"the limits: {words}",
    )  # fmt: skip
    return [figure], limits | {"sum": total}


def _commits(stage: BenchStage) -> list[float]:
    """Seconds of a transaction that inserts one row."""
    found: list[float] = []
    url = stage.env["QUICKSILVER_WAREHOUSE_URL"]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create table quicksilver_bench_commit (at timestamptz)")
        for _ in range(_COMMITS):
            began = time.perf_counter()
            connection.execute("insert into quicksilver_bench_commit values (now())")
            found.append(time.perf_counter() - began)
        connection.execute("drop table quicksilver_bench_commit")
    return found


def _months(stage: BenchStage) -> list[float]:
    """Seconds of one 10,000-row month's COPY and SQL, by psql."""
    folder = stage.stack.folder / "limits"
    folder.mkdir()
    path, csv = folder / "month.parquet", folder / "month.csv"
    dt = next(stage.dts)
    path.write_bytes(small_month(dt))
    columns = write_csv(path, csv)
    files = executed_sql_of(stage, dt)
    return [sum(postgres_alone(stage, csv, columns, files)) for _ in range(_MONTHS)]
